"""Sound that may lie behind a gap is held back until it is known.

Alone because no clock can tell at once what was lost from what only waited, and a
window with a gap in it must not get out meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.audio.frame_clock import FrameClock

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
