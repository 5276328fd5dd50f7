"""What the listener says: estimates while it hears, conditions when it cannot.

These are the values that every sink eats; they know nothing of audio, models or
sinks, so any of those may change without them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

SILENCE, UNKNOWN = "silence", "unknown"
"""What an estimate says instead of a genre."""

Now = Callable[[], datetime]
"""A wall clock: the present as UTC."""


class State(StrEnum):
    """How the listener fares."""

    STARTING = "starting"
    """Nothing was heard yet."""

    WAITING = "waiting_for_microphone"
    """The microphone is absent, busy or lost, and is being looked for."""

    LISTENING = "listening"
    """All is well."""

    DEAF = "deaf"
    """The microphone sends exact zeros: it is muted or broken."""

    CLIPPING = "clipping"
    """The microphone is overdriven, and genres suffer."""

    BEHIND = "behind"
    """The machine is too slow, and audio was dropped."""

    PAUSED = "paused"
    """The listener was asked to be quiet."""

    STOPPING = "stopping"
    """The listener was asked to end."""


class HeldBy(StrEnum):
    """What kept a genre from being named, or kept the one that is named."""

    NONE = "none"
    """Nothing: the likeliest genre is named."""

    SILENCE = "silence"
    """The window is quieter than `listen.silence`, or hardly louder than the room."""

    STEADY_NOISE = "steady_noise"
    """The window holds nothing but steady noise, such as a fan's or rain."""

    NOT_MUSIC = "not_music"
    """The model takes the sound for speech, a machine or another sound that is no music."""

    THRESHOLD = "threshold"
    """No answer is as probable as the threshold asks for."""

    LEAD = "lead"
    """Another answer is likelier by now, but not by as much as `listen.lead` asks for."""

    STARTING = "starting"
    """Sound has just begun and is too short to be named."""

    @property
    def reason(self) -> str:
        """The reason in words for a person; empty for NONE."""
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
    """What was heard in one window and the ones shortly before it."""

    sequence: int
    """Counts estimates from 0, with no gap."""

    time: datetime
    """When the estimate was made, UTC."""

    seconds: float
    """Where in the stream its window ends, in seconds of audio."""

    genre: str
    """A label of the model, `silence`, or `unknown`."""

    confidence: float
    """Smoothed probability of that genre (0-1), of the likeliest label where it is unknown; 0 in silence."""

    scores: dict[str, float]
    """Smoothed probability of every label; 0 in silence. What is missing to 1 is the chance that it is no music."""

    level: float
    """Level of the window in dBFS: a full-scale sine has -3."""

    peak: float
    """Largest sample of the window in dBFS."""

    dropped: float
    """Seconds of sound that were lost since the listener began."""

    state: State
    """How the listener fared while it heard this."""

    model: str
    """Name and version of the model that made the scores."""

    raw_genre: str = SILENCE
    """What this window alone would be called, however unsure; `silence` in silence."""

    raw_confidence: float = 0.0
    """Its probability (0-1); 0 in silence."""

    held_by: HeldBy = HeldBy.NONE
    """What kept a genre from being named, or kept the one that is named."""

    tags: dict[str, float] = {}
    """Score of the five surest tags (0-1), the surest first, averaged as the genre is; empty
    in silence, where the model has no tags and with `listen.tags` off."""

    energy: float | None = None
    """How energetic this window is (0-1); None in silence and where the model does not say."""

    monotonic: float = 0.0
    """When the estimate was made, in seconds of a clock that is never set."""

    latency: float = 0.0
    """How long it took to make, in milliseconds."""

    clock_synchronised: bool = True
    """False if `time` may be wrong: the clock had not been synchronised since boot."""

    @property
    def named(self) -> bool:
        """A genre was named."""
        return self.genre not in {SILENCE, UNKNOWN}

    def ranked(self) -> list[tuple[str, float]]:
        """Labels and their scores, the likeliest first."""
        return sorted(self.scores.items(), key=lambda score: -score[1])


class StatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing is heard just now."""

    time: datetime
    """When it was noticed, UTC."""

    state: State
    """How the listener fares."""

    message: str
    """One line for a person: what is wrong and what helps."""


def utc_now() -> datetime:
    """The present, as the system knows it."""
    return datetime.now(UTC)
