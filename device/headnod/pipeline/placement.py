"""Whether the microphone is placed well: levels of the last minutes of estimates, and advice in words."""

from __future__ import annotations

from collections import deque

import numpy as np

from headnod.pipeline.estimate import SILENCE, Estimate, State
from headnod.pipeline.level_meter import CREST, LevelReport

_KEPT = 200
"""Estimates: ten minutes at one in three seconds."""

_LEAST = 10
_QUIET, _LOUD = 5.0, 95.0
_NEAR = 15.0
"""Decibels between music and the quietest moments under which the microphone is too far from the music."""


class PlacementMeter:
    """Collects levels of estimates."""

    def __init__(self) -> None:
        """Start without estimates."""
        self._kept: deque[tuple[float, float, State, bool]] = deque(maxlen=_KEPT)

    def update(self, estimate: Estimate) -> None:
        """Add an estimate."""
        self._kept.append((estimate.level, estimate.peak, estimate.state, estimate.genre != SILENCE))

    def reset(self) -> None:
        """Start anew, for another microphone."""
        self._kept.clear()

    def report(self) -> dict[str, object]:
        """Levels in dBFS, the proposed change of the gain in decibels, and advice; empty before the first estimates."""
        kept = list(self._kept)
        if not kept:
            return {}
        levels = np.array([level for level, *_ in kept])
        music = np.array([level for level, _, _, sounds in kept if sounds])
        floor = float(np.percentile(levels, _QUIET))
        loud = float(np.percentile(music, _LOUD)) + CREST if len(music) else floor
        clipped = float(np.mean([state is State.CLIPPING for _, _, state, _ in kept]))
        measured = LevelReport(
            seconds=float(len(kept)),
            noise_floor=round(floor, 1),
            loud=round(loud, 1),
            peak=max(peak for _, peak, _, _ in kept),
            clipped=clipped,
            dead=all(state is State.DEAF for _, _, state, _ in kept),
        )
        return {
            "level": kept[-1][0],
            "peak": kept[-1][1],
            "noise_floor": measured.noise_floor,
            "loud": measured.loud if len(music) else None,
            "gain": measured.gain if len(music) else 0.0,
            "advice": _advice(measured, music=len(music)),
        }


def _advice(measured: LevelReport, *, music: int) -> str:
    if measured.dead:
        return "the microphone sends nothing but zeros: it is muted, or not connected"
    if music < _LEAST:
        return "play music for half a minute to measure it"
    if measured.gain < 0:
        return f"too loud: lower the gain by about {-measured.gain:.0f} dB (alsamixer, then F4)"
    if measured.gain > 0:
        return f"too quiet: raise the gain by about {measured.gain:.0f} dB (alsamixer, then F4), or move it closer"
    if measured.loud - CREST - measured.noise_floor < _NEAR:
        return "music is hardly louder than the quietest moments: move it closer, or pause the music for a moment"
    return "placed well"
