"""The timeline of one listener: runs of one genre in the last hours.

Estimates arrive late, twice and out of order when a broker returns, and memory is
bounded in every case.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

HOURS = 6
"""Hours that a timeline covers."""

RUNS = 512
"""Limit of runs: beyond it the shortest is merged into the one before."""

SPAN = HOURS * 3600
"""`HOURS` in seconds."""


class Timeline:
    """Runs of one genre in the order of time, without overlap.

    Times are whole seconds since 1970, genres are numbers of the caller. A run takes 17 bytes.
    """

    def __init__(self) -> None:
        """A timeline without runs."""
        self._starts, self._ends, self._genres = array("q"), array("q"), array("B")

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def since(self) -> int | None:
        """Beginning of the latest run; None without runs."""
        return self._starts[-1] if self._starts else None

    def add(self, start: int, end: int, genre: int, *, slack: int = 0) -> bool:
        """Add a genre from start to end, where there is no run yet.

        Args:
            start: First second.
            end: Second after the last.
            genre: A number in 0-255.
            slack: Largest gap in seconds within a run.

        Returns:
            Whether anything but the latest run changed.
        """
        place = bisect_right(self._starts, start)
        if place:
            start = max(start, self._ends[place - 1])
        if place < len(self):
            end = min(end, self._starts[place])
        if end <= start:
            return False
        latest = place == len(self)
        if place and self._genres[place - 1] == genre and start - self._ends[place - 1] <= slack:
            self._ends[place - 1] = end
            place -= 1
        else:
            self._starts.insert(place, start)
            self._ends.insert(place, end)
            self._genres.insert(place, genre)
        self._join(place, slack)
        full = len(self) > RUNS
        if full:
            self._merge_shortest()
        return full or not latest

    def prune(self, now: int) -> None:
        """Remove what is older than `HOURS`, and what a clock that was set back left in the future."""
        old = bisect_right(self._ends, now - SPAN)
        self._cut(0, old)
        self._cut(bisect_right(self._starts, now + 60), len(self))

    def shift(self, step: int) -> None:
        """Move every run by a number of seconds."""
        for column in (self._starts, self._ends):
            for place, moment in enumerate(column):
                column[place] = moment + step

    def runs(self) -> list[int]:
        """Every run as in `relative`."""
        return relative(zip(self._starts, self._ends, self._genres, strict=True))

    def _join(self, place: int, slack: int) -> None:
        after = place + 1
        if after >= len(self) or self._genres[after] != self._genres[place]:
            return
        if self._starts[after] - self._ends[place] <= slack:
            self._ends[place] = self._ends[after]
            self._cut(after, after + 1)

    def _merge_shortest(self) -> None:
        # Not the first, which has none before it, nor the latest, which may still grow.
        inner = range(1, len(self) - 1)
        shortest = min(inner, key=lambda place: self._ends[place] - self._starts[place])
        if self._starts[shortest] == self._ends[shortest - 1]:
            self._ends[shortest - 1] = self._ends[shortest]
        self._cut(shortest, shortest + 1)
        self._join(shortest - 1, 0)

    def _cut(self, first: int, last: int) -> None:
        for column in (self._starts, self._ends, self._genres):
            del column[first:last]


def relative(runs: Iterable[tuple[int, int, int]]) -> list[int]:
    """Every run as three numbers: seconds since the end of the one before, its length, its genre.

    The first number of all is a time.
    """
    numbers, before = [], 0
    for start, end, genre in runs:
        numbers += [start - before, end - start, genre]
        before = end
    return numbers
