"""Detection of gaps in the audio of a microphone, by counting frames against the monotonic clock."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SETTLE = 1.0
_FEWEST = 3
"""Arrivals without which nothing is told from a single one that came late."""
_GAP = 0.05


class FrameClock:
    """Tells when sound went missing between the frames that came.

    Frames come in lumps, so each arrives somewhat late; the least lateness of
    the last second, or of the last three lumps, is steady. When it jumps, that much sound was lost. A sound
    card whose clock runs a little slow makes no jump. It takes a second to tell
    what was lost from what only waited; until then what comes is `doubtful`.
    """

    def __init__(self, rate: int) -> None:
        """Watch a stream of so many frames per second."""
        self._rate, self._frames = rate, 0
        self._began: float | None = None
        self._late: deque[tuple[float, float]] = deque()
        self._usual = 0.0

    def lost(self, frames: int, now: float) -> float:
        """Seconds of sound that turn out to be missing, 0 if none.

        Args:
            frames: Frames that came just now.
            now: Monotonic seconds.
        """
        self._frames += frames
        if self._began is None:
            self._began = now - self._frames / self._rate
        self._late.append((now, now - self._began - self._frames / self._rate))
        # The last one from before the second stays: it says what was usual until then.
        while len(self._late) > _FEWEST and self._late[1][0] <= now - _SETTLE:
            self._late.popleft()
        usual, self._usual = self._usual, min(late for _, late in self._late)
        missing = self._usual - usual
        return missing if missing > _GAP else 0.0

    @property
    def doubtful(self) -> bool:
        """Sound may be missing before the newest frame, and it is too early to tell."""
        return self.behind > _GAP

    @property
    def behind(self) -> float:
        """Seconds by which the newest frame is later than usual."""
        return self._late[-1][1] - self._usual if self._late else 0.0


_STALE = 1.0
"""Seconds by which frames may be late until they are too old to be heard."""

_LONGEST = 3.0
"""Seconds for which sound is held back at most: a card that is slower than it says would be late for ever."""


class Sure(NamedTuple):
    """What is known by now."""

    missing: float
    """Seconds that went missing before this sound."""

    sound: list[NDArray[np.float32]]
    """Frames without a gap, each of shape (n, channels); none while there is doubt."""


class Doubt:
    """Lets sound pass at once while it is on time.

    Sound that is late has waited somewhere, or some is missing before it. When
    something on time follows it has waited, and is heard. When nothing does for a
    second, the gap lies in the first of what was held back: all of it is dropped.
    """

    def __init__(self, rate: int) -> None:
        """Judge a stream of so many frames per second."""
        self._rate, self._clock = rate, FrameClock(rate)
        self._held: list[NDArray[np.float32]] = []
        self._since, self._missing = 0.0, 0.0

    def hear(self, frames: NDArray[np.float32], now: float) -> Sure:
        """What is known when more comes.

        Args:
            frames: What came just now, shape (n, channels).
            now: Monotonic seconds.
        """
        lost = self._clock.lost(len(frames), now)
        if not self._held:
            self._since = now
        stale = self._clock.behind > _STALE
        if lost or stale:
            self._missing += lost + sum(map(len, self._held)) / self._rate
            self._held, self._since = [], now
        if stale:
            # What waited in pipes and buffers while nobody read: the newest sound wins.
            self._missing += len(frames) / self._rate
            return Sure(0.0, [])
        self._held.append(frames)
        if self._clock.doubtful and now - self._since < _LONGEST:
            return Sure(0.0, [])
        sure = Sure(self._missing, self._held)
        self._held, self._missing = [], 0.0
        return sure
