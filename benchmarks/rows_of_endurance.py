"""P5 and P7 as rows: what is left behind, and whether it keeps up."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.processes import python
from benchmarks.rows import Row

_GROWTH = (
    *("blocks_per_window", "page_faults_per_window", "resident_bytes_per_window", "disk_bytes_per_window"),
    *("voluntary_switches_per_window", "involuntary_switches_per_window"),
    *("garbage_windows", "garbage_objects_per_window", "passing_bytes", "passing_bytes_by_step"),
)


def endurance(hours: float) -> tuple[Row, Row]:
    """Both from one long listening."""
    return rows(json.loads(python("-m", "benchmarks.endurance", str(hours)).output))


def rows(told: dict[str, Any]) -> tuple[Row, Row]:
    """P5 and P7 from what `benchmarks.endurance` prints."""
    left = Row(
        "steady state: garbage of a window; growth, page faults, switches and disk writes stand beside",
        "B a window",
        told["garbage_bytes_per_window"],
        1024.0,
        "what is asked at most",
        more={"windows": told["windows"], **{name: told[name] for name in _GROWTH}},
    )
    pace = Row(
        f"keeps up: {told['hours']:g} h of audio",
        "times real time",
        told["times_real_time"],
        100.0,
        "what is asked at least",
        less_is_better=False,
        more={
            "windows": told["windows"],
            "windows_expected": told["windows_expected"],
            "no_sample_lost": told["windows"] == told["windows_expected"]
            and told["sequence_without_gap"]
            and not told["dropped_s"],
            "cpu_ms_median": told["cpu_ms_median"],
            "cpu_ms_p999": told["cpu_ms_p999"],
            "p999_times_median": round(told["cpu_ms_p999"] / told["cpu_ms_median"], 2),
        },
    )
    return left, pace
