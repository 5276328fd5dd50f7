"""P5 and P7 as rows: what is left behind, and whether it keeps up."""

from __future__ import annotations

import json

from benchmarks.processes import python
from benchmarks.rows import Row


def endurance(hours: float) -> tuple[Row, Row]:
    """Both from one long listening."""
    told = json.loads(python("-m", "benchmarks.endurance", str(hours)).output)
    kept = ("blocks_per_window", "page_faults_per_window", "resident_bytes_per_window", "disk_bytes_per_window")
    left = Row(
        "steady state: page faults of a window; growth and disk writes stand beside",
        "a window",
        told["page_faults_per_window"],
        None,
        "",
        more={
            "windows": told["windows"],
            **{name: told[name] for name in kept},
            "passing_bytes": told["passing_bytes"],
        },
    )
    pace = Row(
        f"keeps up: {hours:g} h of audio",
        "times real time",
        told["times_real_time"],
        100.0,
        "what is asked",
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
