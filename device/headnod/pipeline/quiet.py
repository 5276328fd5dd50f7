"""Music that is recorded too quietly, found in the estimates of a running listener."""

from __future__ import annotations

import math
from collections import deque

from headnod.pipeline.estimate import Estimate
from headnod.pipeline.level_meter import SUITABLE, TOO_SOFT

CREST = 5.5
"""Decibels by which loud moments of music are above the level of their window: 95 % of windows of music have less."""

SPAN = 60.0
"""Seconds of sound over which estimates are kept."""

LEAST = 30.0
"""Seconds of music without which nothing is concluded."""


class QuietMusic:
    """Decides whether all music of the last minute was too quiet, by the limit of `headnod check`."""

    def __init__(self) -> None:
        """Start without estimates."""
        self._music: deque[tuple[float, float]] = deque()

    def update(self, estimate: Estimate) -> float | None:
        """The gain in decibels that is missing, after another estimate; None where nothing is wrong or known.

        Estimates without a named genre count for nothing: a quiet room is quiet.
        """
        while self._music and not 0.0 <= estimate.seconds - self._music[0][0] <= SPAN:
            self._music.popleft()
        if estimate.genre in estimate.scores:
            self._music.append((estimate.seconds, estimate.level))
        if not self._music or self._music[-1][0] - self._music[0][0] < LEAST:
            return None
        loud = max(level for _, level in self._music) + CREST
        return float(math.ceil(SUITABLE - loud)) if loud < TOO_SOFT else None
