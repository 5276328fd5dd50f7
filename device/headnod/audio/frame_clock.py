"""Frames per monotonic second: the only truth about a microphone."""

from __future__ import annotations

from collections import deque

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
