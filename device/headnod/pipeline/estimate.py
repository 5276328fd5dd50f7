"""Output of the listener: estimates, status events when there is no audio, and the songs that estimates make.

All outputs consume these values. This module depends on neither audio nor models. Songs are segmented by changes of the
genre. History and MQTT each have their own `SongSegmenter`; from the same estimates, both get the same songs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import itemgetter
from typing import Annotated

import msgspec
from msgspec import Meta

from headnod.escaping import SILENCE, UNKNOWN

TAGS = 5
"""Largest number of tags of an estimate and of a song."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
"""A probability, or another number from 0 to 1."""

Seconds = Annotated[float, Meta(ge=0.0, le=4e9)]
"""A time in seconds since 1970, up to the year 2096, or a length."""

_SLACK = 60.0
"""Maximum delay of an estimate in seconds; a longer one ends the song."""

Now = Callable[[], datetime]
"""A wall clock: returns the current time, UTC."""


class State(StrEnum):
    """State of the listener."""

    STARTING = "starting"
    """There was no audio yet."""

    WAITING = "waiting_for_microphone"
    """The microphone is absent, busy or lost; the listener tries again regularly."""

    LISTENING = "listening"
    """Normal operation."""

    DEAF = "deaf"
    """All samples from the microphone are equal: it is muted or broken."""

    CLIPPING = "clipping"
    """The microphone is overdriven, which makes genres less reliable."""

    BEHIND = "behind"
    """The machine was too slow and audio was dropped."""

    PAUSED = "paused"
    """The listener was paused by a command."""

    STOPPING = "stopping"
    """The listener is shutting down."""


class HeldBy(StrEnum):
    """Why the most probable genre of the moment is not the one in the estimate."""

    NONE = "none"
    """It is: the most probable genre is named."""

    SILENCE = "silence"
    """The window is quieter than `listen.silence`, or less than `listen.above_noise` above the noise floor."""

    STEADY_NOISE = "steady_noise"
    """The window contains steady noise only, such as a fan or rain."""

    NOT_MUSIC = "not_music"
    """The model classifies the sound as speech, a machine or another sound that is not music."""

    THRESHOLD = "threshold"
    """No smoothed probability reaches the threshold."""

    LEAD = "lead"
    """Another genre is more probable, but by less than `listen.lead`."""

    STARTING = "starting"
    """Sound has just started and is too short to be classified."""

    @property
    def reason(self) -> str:
        """The reason in words, for display; empty for NONE."""
        return _REASONS[self]


_REASONS = {
    HeldBy.NONE: "",
    HeldBy.SILENCE: "too quiet",
    HeldBy.STEADY_NOISE: "steady noise",
    HeldBy.NOT_MUSIC: "speech or another sound that is not music",
    HeldBy.THRESHOLD: "no genre is probable enough",
    HeldBy.LEAD: "another answer is more probable, but not by enough",
    HeldBy.STARTING: "sound has just begun",
}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Genre of one window and those shortly before it."""

    sequence: int
    """Number of the estimate, from 0 without gaps."""

    time: datetime
    """When the estimate was made, UTC."""

    seconds: float
    """Position of the end of the window in the stream, in seconds of audio."""

    genre: str
    """A label of the model, `silence`, or `unknown`."""

    confidence: float
    """Smoothed probability of `genre` (0-1), or of the most probable label for `unknown`; 0 for silence."""

    scores: dict[str, float]
    """Smoothed probability of every label; 0 for silence. The rest to 1 is the probability of `unknown`."""

    level: float
    """Level of the window in dBFS: a full-scale sine has -3."""

    peak: float
    """Largest sample of the window in dBFS."""

    dropped: float
    """Seconds of audio lost since the listener started."""

    state: State
    """State of the listener during the window."""

    model: str
    """Name and version of the model."""

    raw_genre: str = SILENCE
    """Most probable answer for this window alone, without smoothing and threshold; `silence` for silence."""

    raw_confidence: float = 0.0
    """Probability of `raw_genre` (0-1); 0 for silence."""

    held_by: HeldBy = HeldBy.NONE
    """What kept a genre from being named, or kept the one that is named."""

    tags: dict[str, float] = {}
    """Scores of the five best tags (0-1) in descending order, averaged over time; empty for silence,
    for a model without tags and with `listen.tags` off."""

    energy: float | None = None
    """Energy of this window (0-1); None for silence and for a model without this output."""

    monotonic: float = 0.0
    """When the estimate was made, in seconds of the monotonic clock."""

    latency: float = 0.0
    """Computing time of the estimate in milliseconds."""

    clock_synchronised: bool = True
    """False if the clock was not synchronised since boot, so that `time` may be wrong."""

    @property
    def named(self) -> bool:
        """Whether `genre` is a genre."""
        return self.genre not in {SILENCE, UNKNOWN}

    def ranked(self) -> list[tuple[str, float]]:
        """Labels and their scores in descending order."""
        return sorted(self.scores.items(), key=itemgetter(1), reverse=True)


class StatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Reports why there are no estimates at the moment."""

    time: datetime
    """When it was detected, UTC."""

    state: State
    """State of the listener."""

    message: str
    """One line for display: the problem and its solution."""


def utc_now() -> datetime:
    """The current time of the system clock, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class SongSettings:
    """Limits of songs, in seconds of audio."""

    hold: float = 8.0
    """Time for which another genre must be named to start a song."""

    pause: float = 7.0
    """Silence longer than this ends a song."""

    doubt: float = 60.0
    """Time without the genre of a song that ends it."""

    shortest: float = 15.0
    """Minimum duration; shorter songs are not reported."""


class Song(msgspec.Struct, frozen=True, kw_only=True):
    """Successive music of one genre."""

    start: datetime
    """Time of the first estimate with the genre, UTC."""

    end: datetime
    """Time of the last estimate with the genre, UTC."""

    genre: str
    """A label of the model."""

    stability: float
    """Share of the estimates that name the genre (0-1)."""

    estimates: int
    """Number of estimates from start to end, with those of other genres or without one."""

    tags: tuple[str, ...] = ()
    """Its most probable tags, at most five, the most probable first; empty where the model has none."""

    sequence: int = 0
    """Sequence number of the first estimate."""

    seconds: float = 0.0
    """Duration in seconds of audio."""

    started_monotonic: float = 0.0
    """`start` in seconds of the monotonic clock."""

    ended_monotonic: float = 0.0
    """`end` in seconds of the monotonic clock."""

    clock_synchronised: bool = True
    """False if the clock was not synchronised by the end, so that the dates may be wrong."""


class _Segment:
    """Estimates from the first to the last with one genre."""

    def __init__(self, first: Estimate) -> None:
        self.first = self.last = first
        self.named = self.spanned = 1
        self._count = 1
        self._tags = dict(first.tags)

    def add(self, estimate: Estimate) -> None:
        self._count += 1
        if estimate.genre == self.first.genre:
            self.last, self.spanned = estimate, self._count
            self.named += 1
            for tag, score in estimate.tags.items():
                self._tags[tag] = self._tags.get(tag, 0.0) + score

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags with the largest sums of scores."""
        return tuple(sorted(self._tags, key=lambda tag: -self._tags[tag])[:TAGS])

    @property
    def seconds(self) -> float:
        return self.last.seconds - self.first.seconds


class SongSegmenter:
    """Segments a stream of estimates into songs.

    Durations are measured in seconds of audio, not by the wall clock. A song lasts from
    the first to the last estimate that names its genre, and songs never overlap.
    """

    def __init__(self, settings: SongSettings) -> None:
        """Start without estimates."""
        self._settings = settings
        self._song: _Segment | None = None
        self._candidate: _Segment | None = None
        self._previous: Estimate | None = None
        self._last_sound = 0.0

    def update(self, estimate: Estimate) -> Song | None:
        """Add an estimate; returns the song that it ended, if any.

        A restart of the stream ends a song too; a change of the wall clock does not.
        """
        ended = self.finish() if self._breaks(estimate) else None
        self._previous = estimate
        if estimate.genre != SILENCE:
            self._last_sound = estimate.seconds
        for segment in (self._song, self._candidate):
            if segment is not None:
                segment.add(estimate)
        if estimate.named:
            self._name(estimate)
        return self._replaced(estimate) or ended

    @property
    def current(self) -> Song | None:
        """The song that plays, as far as it goes; None if it is not long enough yet."""
        return self._completed(self._song)

    def interrupt(self, event: StatusEvent) -> Song | None:
        """Add a status event; returns the song that it ended, if any. A few dropped samples do not end a song."""
        return None if event.state is State.BEHIND else self.finish()

    def finish(self) -> Song | None:
        """End the song here; returns it if it is long enough."""
        song, self._song, self._candidate = self._song, None, None
        self._previous = None
        return self._completed(song)

    def _breaks(self, estimate: Estimate) -> bool:
        if self._previous is None:
            return False
        played = estimate.seconds - self._previous.seconds
        passed = estimate.monotonic - self._previous.monotonic
        if played < 0 or not 0 <= passed <= played + _SLACK:
            return True
        return estimate.genre == SILENCE and estimate.seconds - self._last_sound > self._settings.pause

    def _name(self, estimate: Estimate) -> None:
        if self._song is None:
            self._song = _Segment(estimate)
        elif estimate.genre == self._song.first.genre:
            self._candidate = None
        elif self._candidate is None or estimate.genre != self._candidate.first.genre:
            self._candidate = _Segment(estimate)

    def _replaced(self, estimate: Estimate) -> Song | None:
        if self._song is None:
            return None
        held = self._candidate is not None and self._candidate.seconds >= self._settings.hold
        expired = estimate.seconds - self._song.last.seconds > self._settings.doubt
        if not held and not expired:
            return None
        song, self._song, self._candidate = self._song, self._candidate, None
        return self._completed(song)

    def _completed(self, segment: _Segment | None) -> Song | None:
        if segment is None or segment.seconds < self._settings.shortest:
            return None
        first, last = segment.first, segment.last
        return Song(
            # Computed from the end, because the clock may have been set during the song and is right afterwards.
            start=last.time - timedelta(seconds=last.monotonic - first.monotonic),
            end=last.time,
            genre=first.genre,
            stability=round(segment.named / segment.spanned, 4),
            estimates=segment.spanned,
            tags=segment.tags,
            sequence=first.sequence,
            seconds=round(segment.seconds, 3),
            started_monotonic=first.monotonic,
            ended_monotonic=last.monotonic,
            clock_synchronised=last.clock_synchronised,
        )
