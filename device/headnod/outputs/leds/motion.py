"""Motion: bars that rise fast and fall slowly between estimates.

Estimates come seconds apart; eyes want something smoother. The terminal and
every kind of LED move their bars with this. It is no sink and knows no time
but what it is told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class EnvelopeFollower:
    """Heights that approach their targets exponentially.

    How often it is asked makes no difference: two halves of a second move the
    bars exactly as far as one whole.

    >>> motion = EnvelopeFollower(2, rise=0.15, fall=0.9)
    >>> motion.update([1.0, 0.0], 0.3).round(2).tolist()
    [0.86, 0.0]
    >>> motion.update([0.0, 0.0], 0.3).round(2).tolist()
    [0.62, 0.0]
    """

    def __init__(self, size: int, *, rise: float = 0.15, fall: float = 0.9) -> None:
        """Start with so many bars, all of them down.

        Args:
            size: How many bars.
            rise: Time constant upwards in seconds: after it, 63 % of the way is done. 0 jumps.
            fall: Time constant downwards in seconds. 0 drops.
        """
        self._rise = rise
        self._fall = fall
        self._heights = np.zeros(size)

    @property
    def heights(self) -> NDArray[np.float64]:
        """Where the bars are, shape (size,)."""
        return self._heights.copy()

    def update(self, targets: ArrayLike, seconds: float) -> NDArray[np.float64]:
        """Let time pass, and say where the bars are then.

        Args:
            targets: Where the bars go, shape (size,).
            seconds: Time since the last move; none or less moves nothing.

        Returns:
            The heights, shape (size,).
        """
        goals = np.asarray(targets, np.float64)
        share = np.where(goals > self._heights, _share(seconds, self._rise), _share(seconds, self._fall))
        self._heights = self._heights + (goals - self._heights) * share
        return self.heights

    def reset(self) -> None:
        """Put every bar down at once."""
        self._heights = np.zeros_like(self._heights)


def _share(seconds: float, constant: float) -> float:
    if seconds <= 0:
        return 0.0
    return 1.0 - float(np.exp(-seconds / constant)) if constant > 0 else 1.0
