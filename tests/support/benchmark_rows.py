"""Rows of a run that never was, in which every target is reached."""

from typing import Any

from benchmarks.rows import Row

_MACHINE = {"day": "2026-11-22", "processor": "imagined, 2 cores", "numpy": "2.4.6", "load": 0.2}


def _row(ours: float, baseline: float | None, unit: str, more: dict[str, Any], *, less: bool = True) -> dict[str, Any]:
    made = Row("what was measured", unit, ours, baseline, "another", less_is_better=less, more=more).as_json()
    made["more"]["machine"] = dict(_MACHINE)
    return made


def _spread(median: float) -> dict[str, float]:
    return {"median": median, "p99": 2 * median}


def _quick(median: float, script: float, fair: float) -> dict[str, Any]:
    return {
        **_spread(median),
        "times quicker than the script path": script,
        "times quicker than the fair path": fair,
        "times quicker than YAMNet": 5.0,
        "points of clips over YAMNet": 15.0,
        "whole listener": _spread(1.2 * median),
    }


def _line(track: float) -> dict[str, Any]:
    seconds = {str(count): round(1.0 + track * count, 2) for count in (10, 20, 40, 80)}
    return {"seconds_by_tracks": seconds, "seconds_a_track": track, "seconds_of_start": 1.0, "r2": 0.9999}


RIGHT = {
    name: {"windows": share - 0.01, "clips": share, "count": 98}
    for name, share in (("YAMNet", 0.55), ("genre", 0.7), ("genre-small", 0.68))
}


def rows() -> dict[str, Any]:
    """Each row as `--json` has it."""
    return {
        "P1": _row(0.8, 60.0, "ms", {
            "models": {"genre": _quick(0.8, 75.0, 5.5), "genre-small": _quick(0.5, 120.0, 8.8)},
            "script": _spread(60.0), "fair": _spread(4.4), "yamnet": _spread(5.9), "right on clips": RIGHT,
            "front_ends": {
                "headnod": _spread(0.4), "numpy FFT alone, float32 (the floor)": _spread(0.2),
                "numpy FFT alone, as numpy does by itself": _spread(0.3), "librosa": _spread(2.0),
                "scipy, FFT alone": _spread(0.2),
            },
            "networks": {"genre": _spread(0.4), "genre-small": _spread(0.1)},
        }),
        "P2": _row(11.2, 22.6, "million instructions", {
            "models": {
                "genre": {"whole": 11.2, "network": 6.6, "front end and listener": 4.6},
                "genre-small": {"whole": 7.0, "network": 2.4, "front end and listener": 4.6},
            },
            "pieces": {"mel": 3.0, "FFT": 1.5, "features": 0.3, "level": 0.5},
        }),
        "P3": _row(0.18, 9.0, "s", {"cpu_s": {"ours": 0.24, "script": 7.0}, "cpu_s_by_step": {"numpy": 0.08}}),
        "P4": _row(54.0, 470.0, "MiB", {
            "processes": {"headnod": 37.0, "capture": 23.0}, "numpy_and_litert_alone": 21.0,
        }),
        "P5": _row(0.0, 1024.0, "B a window", {
            "blocks_per_window": -0.04, "page_faults_per_window": 0.004, "resident_bytes_per_window": 0.0,
            "disk_bytes_per_window": 0.0, "garbage_windows": 10_320, "garbage_objects_per_window": 0.0,
            "passing_bytes": 68_000, "passing_bytes_by_step": {"mel": 68_000, "level": 1_900},
        }),
        "P6": _row(283.0, 128.0, "kB", {"models": {
            name: {
                "bundle": f"{name}-1.0.0", "kB": size, "million_multiply_adds": 5.2, "delegate_partitions": 1,
                "points_under_genre": {"windows": 2.0, "clips": 2.0},
            }
            for name, size in (("genre", 283.0), ("genre-small", 85.0))
        }, "right on clips": RIGHT}),
        "P7": _row(1000.0, 100.0, "times real time", {"no_sample_lost": True, "p999_times_median": 2.4}, less=False),
        "P8": _row(4.5, 43.1, "a second", {
            "processes": {"headnod": {"python (main)": 2.0}, "capture": {"threaded-ml": 2.5}},
        }),
        "P9": _row(110.0, 1800.0, "MB", {"heaviest_MB": {"numpy": 31.6}}),
        "P10": _row(400.0, 150.0, "times real time", {
            "import": {
                "one process": _line(0.07), "two processes": _line(0.04),
                "one Dask worker": _line(0.08), "two Dask workers": _line(0.045),
                "two_processes_times_one": 1.75, "two_processes_times_one_with_start": 1.6,
                "two_workers_times_one": 1.78, "two_workers_times_one_with_start": 1.6,
            },
            "training": {
                **_line(0.04), "minutes_to_finish": 18.0, "recipe": {"tracks": 639, "epochs": 40},
            },
        }, less=False),
    }  # fmt: skip
