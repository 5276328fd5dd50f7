"""How seconds grow with tracks: a straight line through what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Line:
    """Seconds by number of tracks."""

    seconds: Mapping[int, float]
    """What was measured."""

    @property
    def a_track(self) -> float:
        """Seconds that one more track takes: a line of least squares, so that a start does not count."""
        return float(np.polyfit(list(self.seconds), list(self.seconds.values()), 1)[0])

    @property
    def start(self) -> float:
        """Seconds that the line gives for no track at all."""
        return float(np.polyfit(list(self.seconds), list(self.seconds.values()), 1)[1])

    @property
    def r2(self) -> float:
        """Coefficient of determination: 1 where time grows exactly linearly with tracks."""
        tracks, seconds = np.array(list(self.seconds)), np.array(list(self.seconds.values()))
        left = seconds - (self.start + self.a_track * tracks)
        scatter = float(np.square(seconds - seconds.mean()).sum())
        return 1.0 - float(np.square(left).sum()) / scatter if scatter else 1.0

    @property
    def most(self) -> float:
        """Seconds of the largest measurement, with its start."""
        return self.seconds[max(self.seconds)]

    def as_json(self) -> dict[str, Any]:
        """The line, and what it goes through."""
        return {
            "seconds_by_tracks": {str(tracks): round(seconds, 2) for tracks, seconds in self.seconds.items()},
            "seconds_a_track": round(self.a_track, 4),
            "seconds_of_start": round(self.start, 2),
            "r2": round(self.r2, 4),
        }
