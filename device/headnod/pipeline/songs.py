"""Songs: estimates that belong together, cut where the genre changes.

Alone because history keeps songs and MQTT tells them: each feeds its own `SongSegmenter`
with the same estimates and comes to the same songs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from headnod.pipeline.estimate import SILENCE, Estimate, State, StatusEvent

_SLACK = 60.0
"""Seconds by which an estimate may be late after the one before it; a longer wait ends a song."""


@dataclass(frozen=True)
class SongSettings:
    """What makes a song, in seconds of audio."""

    hold: float = 8.0
    """Another genre must be named for so long to begin a song."""

    pause: float = 7.0
    """Silence longer than this ends a song."""

    doubt: float = 60.0
    """A song whose genre was not named for so long is over."""

    shortest: float = 15.0
    """Songs that last less are not told."""


class Song(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of music of one genre."""

    start: datetime
    """When its genre was first named, UTC."""

    end: datetime
    """When its genre was last named, UTC."""

    genre: str
    """A label of the model."""

    stability: float
    """Share of its estimates that named its genre (0-1)."""

    estimates: int
    """Estimates from start to end, stray and doubtful ones included."""

    sequence: int = 0
    """Sequence number of its first estimate."""

    seconds: float = 0.0
    """Its length in seconds of audio."""

    started_monotonic: float = 0.0
    """`start` in seconds of a clock that is never set."""

    ended_monotonic: float = 0.0
    """`end` in seconds of a clock that is never set."""

    clock_synchronised: bool = True
    """False if its dates may be wrong: the clock had not been synchronised by its end."""


class _Run:
    """Estimates from the first that names a genre to the last that does."""

    def __init__(self, first: Estimate) -> None:
        self.first = self.last = first
        self.named = self.spanned = 1
        self._count = 1

    def add(self, estimate: Estimate) -> None:
        self._count += 1
        if estimate.genre == self.first.genre:
            self.last, self.spanned = estimate, self._count
            self.named += 1

    @property
    def seconds(self) -> float:
        return self.last.seconds - self.first.seconds


class SongSegmenter:
    """Cuts a stream of estimates into songs.

    Lengths are measured in seconds of audio and never by the wall clock. A
    song runs from the first to the last estimate that names its genre, so a
    doubt at its end is not part of it, and songs never overlap.
    """

    def __init__(self, settings: SongSettings) -> None:
        """Start with no song."""
        self._settings = settings
        self._song: _Run | None = None
        self._rival: _Run | None = None
        self._before: Estimate | None = None
        self._sounded = 0.0

    def update(self, estimate: Estimate) -> Song | None:
        """Hear one estimate; gives the song that it ended, if it ended one worth telling.

        A stream that began anew ends a song too; a wall clock that was set does not.
        """
        ended = self.finish() if self._breaks(estimate) else None
        self._before = estimate
        if estimate.genre != SILENCE:
            self._sounded = estimate.seconds
        for run in (self._song, self._rival):
            if run is not None:
                run.add(estimate)
        if estimate.named:
            self._name(estimate)
        return self._overtaken(estimate) or ended

    def interrupt(self, condition: StatusEvent) -> Song | None:
        """Hear that nothing is heard: gives the song that this ended, if any; a few dropped samples end none."""
        return None if condition.state is State.BEHIND else self.finish()

    def finish(self) -> Song | None:
        """End the song here; gives it if it is worth telling."""
        song, self._song, self._rival = self._song, None, None
        self._before = None
        return self._told(song)

    def _breaks(self, estimate: Estimate) -> bool:
        if self._before is None:
            return False
        heard = estimate.seconds - self._before.seconds
        passed = estimate.monotonic - self._before.monotonic
        if heard < 0 or not 0 <= passed <= heard + _SLACK:
            return True
        return estimate.genre == SILENCE and estimate.seconds - self._sounded > self._settings.pause

    def _name(self, estimate: Estimate) -> None:
        if self._song is None:
            self._song = _Run(estimate)
        elif estimate.genre == self._song.first.genre:
            self._rival = None
        elif self._rival is None or estimate.genre != self._rival.first.genre:
            self._rival = _Run(estimate)

    def _overtaken(self, estimate: Estimate) -> Song | None:
        if self._song is None:
            return None
        held = self._rival is not None and self._rival.seconds >= self._settings.hold
        doubted = estimate.seconds - self._song.last.seconds > self._settings.doubt
        if not held and not doubted:
            return None
        song, self._song, self._rival = self._song, self._rival, None
        return self._told(song)

    def _told(self, run: _Run | None) -> Song | None:
        if run is None or run.seconds < self._settings.shortest:
            return None
        first, last = run.first, run.last
        return Song(
            # Reckoned back from the end: the clock may have been set in between, and is right after it.
            start=last.time - timedelta(seconds=last.monotonic - first.monotonic),
            end=last.time,
            genre=first.genre,
            stability=round(run.named / run.spanned, 4),
            estimates=run.spanned,
            sequence=first.sequence,
            seconds=round(run.seconds, 3),
            started_monotonic=first.monotonic,
            ended_monotonic=last.monotonic,
            clock_synchronised=last.clock_synchronised,
        )
