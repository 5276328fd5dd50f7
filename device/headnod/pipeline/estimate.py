"""Output of the listener: estimates, and status events when there is no audio.

All outputs consume these values. This module depends on neither audio nor models.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from operator import itemgetter

import msgspec

SILENCE, UNKNOWN = "silence", "unknown"
"""Values of `Estimate.genre` that are no genres."""

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
    HeldBy.LEAD: "another genre is more probable, but not by enough",
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
