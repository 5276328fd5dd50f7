"""The ribbon: what one listener heard in the last hours, as runs of one genre.

Alone because its arithmetic is: estimates come late, twice and out of order
when a broker returns, and memory must stay bounded whatever comes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

HOURS = 6
"""How far back a ribbon reaches."""

RUNS = 512
"""Runs that one ribbon has at most: over it, the shortest is swallowed by the one before."""

SPAN = HOURS * 3600
"""The same in seconds."""


class Timeline:
    """Runs of one genre in the order of time; they never overlap.

    Times are whole seconds since 1970, genres are numbers that the owner gave.
    A run takes 17 bytes.
    """

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self._starts, self._ends, self._genres = array("q"), array("q"), array("B")

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def since(self) -> int | None:
        """When the latest run began, or None if nothing was heard."""
        return self._starts[-1] if self._starts else None

    def hear(self, start: int, end: int, genre: int, *, slack: int = 0) -> bool:
        """Remember that a genre was heard from start to end; what is known already stays.

        Args:
            start: Its first second.
            end: The second after its last.
            genre: A number in 0-255.
            slack: A hole of so many seconds does not part two runs of one genre.

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
        swallowed = len(self) > RUNS
        if swallowed:
            self._swallow()
        return swallowed or not latest

    def forget(self, now: int) -> None:
        """Forget what is older than the ribbon, and what a clock that was set back left in the future."""
        old = bisect_right(self._ends, now - SPAN)
        self._cut(0, old)
        self._cut(bisect_right(self._starts, now + 60), len(self))

    def move(self, step: int) -> None:
        """Move every run by so many seconds."""
        for column in (self._starts, self._ends):
            for place, moment in enumerate(column):
                column[place] = moment + step

    def runs(self) -> list[int]:
        """Every run as three numbers: seconds since the end of the one before, its length, its genre.

        The first number of all is a time.
        """
        told, before = [], 0
        for start, end, genre in zip(self._starts, self._ends, self._genres, strict=True):
            told += [start - before, end - start, genre]
            before = end
        return told

    def _join(self, place: int, slack: int) -> None:
        after = place + 1
        if after >= len(self) or self._genres[after] != self._genres[place]:
            return
        if self._starts[after] - self._ends[place] <= slack:
            self._ends[place] = self._ends[after]
            self._cut(after, after + 1)

    def _swallow(self) -> None:
        # The first has none before it, and the latest may still grow.
        inner = range(1, len(self) - 1)
        shortest = min(inner, key=lambda place: self._ends[place] - self._starts[place])
        if self._starts[shortest] == self._ends[shortest - 1]:
            self._ends[shortest - 1] = self._ends[shortest]
        self._cut(shortest, shortest + 1)
        self._join(shortest - 1, 0)

    def _cut(self, first: int, last: int) -> None:
        for column in (self._starts, self._ends, self._genres):
            del column[first:last]
