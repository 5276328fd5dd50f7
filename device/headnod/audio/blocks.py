"""Blocks of audio, the output of every source, with gaps and changes of the sample rate.

Gaps in the audio of a microphone are detected by counting frames against the monotonic clock. Whether late audio was
only delayed, or some was lost before it, is known a second later; until then late audio is held back, because a window
must not contain a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio
from headnod.pipeline.estimate import State


@dataclass(frozen=True)
class Gap:
    """Audio is missing here. The audio before and after a gap is processed separately.

    A source that waits for audio yields a gap at least once per second, so that the
    consumer gets control regularly.
    """

    state: State
    """State of the listener during the gap."""

    message: str
    """One line for display: the problem and its solution."""

    lost: float = 0.0
    """Duration of the lost audio in seconds, 0 if unknown."""


@dataclass(frozen=True)
class RateChange:
    """The following blocks have another sample rate, and start with a repetition of the last seconds."""

    former: int
    """Previous sample rate."""

    rate: int
    """New sample rate."""

    repeated: int
    """Number of repeated samples, at the new rate."""

    def place(self, place: int) -> int:
        """Convert a position in the stream from samples at the former rate to samples at the new rate."""
        return round(place * self.rate / self.former)


Block = Audio | Gap | RateChange
"""Mono samples in [-1, 1], shape (n,) for any n, or a gap, or a rate change."""


def real_time(
    blocks: Iterable[Block],
    rate: int,
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
    lead: float = 0.0,
) -> Iterator[Block]:
    """Delay each block until the time at which it would end when played.

    `rate` is the sample rate of the first blocks. Blocks may be `lead` seconds early.
    """
    began, played = monotonic(), 0
    for block in blocks:
        if isinstance(block, RateChange):
            played, rate = block.place(played) - block.repeated, block.rate
        elif not isinstance(block, Gap):
            played += block.size
            sleep(max(began + played / rate - lead - monotonic(), 0.0))
        yield block


def waiting(seconds: float, reason: str, *, sleep: Callable[[float], None]) -> Iterator[Gap]:
    """Wait before the next attempt to open a source, with a gap at once and one every second."""
    while seconds > 0.0:
        yield Gap(State.WAITING, reason)
        sleep(min(seconds, 1.0))
        seconds -= 1.0


_SETTLE = 1.0
"""Seconds over which the minimum delay is taken."""
_FEWEST = 3
"""Minimum number of arrivals for the minimum delay."""
_GAP = 0.05
"""Increase of the minimum delay in seconds that counts as a gap."""

_STALE = 1.0
"""Delay in seconds above which audio is too old to be used."""

_LONGEST = 3.0
"""Maximum time in seconds for which audio is held back: a card that is slower than its nominal
rate would otherwise be late for ever."""


class FrameClock:
    """Compares the number of frames of a stream with the time they took.

    Frames arrive in blocks, each with some delay, but the minimum delay of the last
    second, or of the last three blocks, is constant. An increase is the duration of lost
    audio. A sound card with a slightly slow clock causes no step. It takes a second to
    distinguish lost audio from delayed audio; until then, the stream is `uncertain`.
    """

    def __init__(self, rate: int) -> None:
        """Start a stream of `rate` frames per second."""
        self._rate, self._frames = rate, 0
        self._began: float | None = None
        self._late: deque[tuple[float, float]] = deque()
        self._usual = 0.0

    def lost(self, frames: int, now: float) -> float:
        """Duration of lost audio in seconds, as detected at this arrival; 0 for none.

        Args:
            frames: Number of frames that arrived.
            now: Monotonic time in seconds.
        """
        self._frames += frames
        if self._began is None:
            self._began = now - self._frames / self._rate
        self._late.append((now, now - self._began - self._frames / self._rate))
        # The last arrival before the interval stays: it is the minimum delay until then.
        while len(self._late) > _FEWEST and self._late[1][0] <= now - _SETTLE:
            self._late.popleft()
        usual, self._usual = self._usual, min(late for _, late in self._late)
        missing = self._usual - usual
        return missing if missing > _GAP else 0.0

    @property
    def uncertain(self) -> bool:
        """Audio may be missing before the latest frames, but it is too early to decide."""
        return self.behind > _GAP

    @property
    def behind(self) -> float:
        """Delay of the latest frames relative to the minimum delay, in seconds."""
        return self._late[-1][1] - self._usual if self._late else 0.0


class ReleasedAudio(NamedTuple):
    """Audio that is known to be complete."""

    missing: float
    """Duration of the gap before this audio, in seconds."""

    sound: list[NDArray[np.float32]]
    """Frames without a gap, each of shape (n, channels); empty while audio is held back."""


class GapDetector:
    """Passes audio that arrives on time, and holds late audio back.

    If later audio is on time again, the late audio was delayed and is released. If not
    within a second, there is a gap in the first of the audio that was held back: all of
    it is dropped.
    """

    def __init__(self, rate: int) -> None:
        """Start a stream of `rate` frames per second."""
        self._rate, self._clock = rate, FrameClock(rate)
        self._held: list[NDArray[np.float32]] = []
        self._since, self._missing = 0.0, 0.0

    def update(self, frames: NDArray[np.float32], now: float) -> ReleasedAudio:
        """Add frames; returns the audio that is known to be complete.

        Args:
            frames: Frames that arrived, shape (n, channels).
            now: Monotonic time in seconds.
        """
        lost = self._clock.lost(len(frames), now)
        if not self._held:
            self._since = now
        stale = self._clock.behind > _STALE
        if lost or stale:
            self._missing += lost + sum(map(len, self._held)) / self._rate
            self._held, self._since = [], now
        if stale:
            # The frames waited in pipes and buffers that were not read: only the newest are used.
            self._missing += len(frames) / self._rate
            return ReleasedAudio(0.0, [])
        self._held.append(frames)
        if self._clock.uncertain and now - self._since < _LONGEST:
            return ReleasedAudio(0.0, [])
        released = ReleasedAudio(self._missing, self._held)
        self._held, self._missing = [], 0.0
        return released
