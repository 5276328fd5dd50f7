"""What is to be reached: every target with its limit, compared with the figures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """One figure that a row shall reach."""

    row: str
    """Name of the row, such as `P1`."""

    what: str
    """The figure, in words."""

    place: tuple[str, ...]
    """Where it stands in the row's JSON."""

    reach: float
    """The limit."""

    unit: str = ""
    """Of the figure and of both limits."""

    beyond: float | None = None
    """What would be better still."""

    less_is_better: bool = True
    """The limit is the most that may be; else the least."""

    def reached_by(self, value: float, limit: float) -> bool:
        """Such a figure keeps a limit."""
        return value <= limit if self.less_is_better else value >= limit


@dataclass(frozen=True)
class Verdict:
    """A target beside what was measured of it."""

    target: Target
    """What was to be reached."""

    value: float | None
    """What was measured; None where nothing was."""

    @property
    def missed(self) -> bool:
        """It was measured and does not reach."""
        return self.value is not None and not self.target.reached_by(self.value, self.target.reach)

    @property
    def beyond(self) -> bool:
        """It is better still."""
        further = self.target.beyond
        return self.value is not None and further is not None and self.target.reached_by(self.value, further)

    @property
    def short(self) -> float:
        """How far from its limit it is, as a share of the limit; 0 where it reaches."""
        return abs(self.value / self.target.reach - 1.0) if self.missed and self.value is not None else 0.0


def _model(
    row: str, name: str, figure: str, reach: float, unit: str, beyond: float | None = None, *, most: bool = True
) -> Target:
    return Target(row, f"`{name}`: {figure}", ("more", "models", name, figure), reach, unit, beyond, most)


TARGETS = (
    _model("P1", "genre", "median", 1.8, "ms", 1.4),
    _model("P1", "genre", "times quicker than the script path", 28, "x", 45, most=False),
    _model("P1", "genre", "times quicker than YAMNet", 3, "x", most=False),
    _model("P1", "genre", "points of clips over YAMNet", 8, "points", most=False),
    _model("P1", "genre-small", "times quicker than the script path", 100, "x", 150, most=False),
    _model("P1", "genre-small", "times quicker than the fair path", 6, "x", 10, most=False),
    _model("P2", "genre", "front end and listener", 5, "M", 3),
    _model("P2", "genre", "whole", 72, "M", 48),
    _model("P2", "genre-small", "whole", 9, "M", 6),
    Target("P3", "times quicker than the script path", ("ratio",), 45, "x", 60, less_is_better=False),
    Target("P3", "CPU time of a start", ("more", "cpu_s", "ours"), 0.35, "s"),
    Target("P4", "the whole daemon", ("ours",), 56, "MiB", 48),
    Target("P5", "garbage a window", ("ours",), 1024, "B", 0),
    # No growth: pages and blocks come and go by dozens, and that over 10,000 windows.
    Target("P5", "allocated blocks a window more", ("more", "blocks_per_window"), 0.05),
    Target("P5", "page faults a window", ("more", "page_faults_per_window"), 0.05),
    Target("P5", "resident memory a window more", ("more", "resident_bytes_per_window"), 16, "B"),
    Target("P5", "written to disk a window", ("more", "disk_bytes_per_window"), 0, "B"),
    _model("P6", "genre", "kB", 400, "kB"),
    _model("P6", "genre", "million_multiply_adds", 140, "M"),
    _model("P6", "genre-small", "kB", 100, "kB"),
    _model("P6", "genre-small", "million_multiply_adds", 6, "M"),
    Target(
        "P6", "`genre-small`: windows right under `genre`",
        ("more", "models", "genre-small", "points_under_genre", "windows"), 5, "points", 3,
    ),
    Target(
        "P6", "`genre-small`: clips right under `genre`",
        ("more", "models", "genre-small", "points_under_genre", "clips"), 5, "points", 3,
    ),
    Target("P7", "times real time", ("ours",), 100, "x", less_is_better=False),
    Target("P7", "no sample lost", ("more", "no_sample_lost"), 1, less_is_better=False),
    Target("P7", "99.9th percentile by median", ("more", "p999_times_median"), 4, "x"),
    Target("P8", "the whole daemon", ("ours",), 5, "a second", 1.5),
    Target("P9", "the environment", ("ours",), 120, "MB", 100),
    Target("P10", "features, times real time a core", ("ours",), 150, "x", less_is_better=False),
    Target(
        "P10", "import, two processes by one", ("more", "import", "two_processes_times_one"), 1.7, "x",
        less_is_better=False,
    ),
    Target(
        "P10", "import, two Dask workers by one", ("more", "import", "two_workers_times_one"), 1.7, "x",
        less_is_better=False,
    ),
    Target(
        "P10", "import is linear in tracks (r²)", ("more", "import", "one process", "r2"), 0.99, less_is_better=False
    ),
    Target("P10", "training is linear in tracks (r²)", ("more", "training", "r2"), 0.99, less_is_better=False),
    Target("P10", "a whole fit on two cores", ("more", "training", "minutes_to_finish"), 45, "min"),
)  # fmt: skip
"""Every target that has a number."""


def verdicts(rows: Mapping[str, Any]) -> list[Verdict]:
    """Every target of the rows that there are."""
    return [Verdict(target, figure(rows[target.row], target.place)) for target in TARGETS if target.row in rows]


def figure(row: Mapping[str, Any], place: tuple[str, ...]) -> float | None:
    """A number of a row by its place, or None where it was not measured."""
    found: Any = row
    for name in place:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return float(found) if isinstance(found, int | float) else None
