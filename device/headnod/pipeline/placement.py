"""Whether the microphone is placed well: levels of the last minutes of estimates, and advice in words."""

from __future__ import annotations

from collections import deque

import numpy as np

from headnod.pipeline.estimate import SILENCE, Estimate, State
from headnod.pipeline.level import SILENT_DBFS
from headnod.pipeline.level_meter import CREST, LevelReport

_KEPT = 200
"""Estimates: ten minutes at one in three seconds."""

_LEAST = 10
_LEAST_QUIET = 3
_LOUD = 95.0
_NEAR = 15.0
"""Decibels between music and the noise of the room under which the microphone is too far from the music."""


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
        music = np.array([level for level, _, _, sounds in kept if sounds])
        quiet = np.array([level for level, _, _, sounds in kept if not sounds])
        # Without a pause the noise of the room is not known: soft music would be taken for it.
        floor = float(np.median(quiet)) if len(quiet) >= _LEAST_QUIET else None
        loud = float(np.percentile(music, _LOUD)) + CREST if len(music) else SILENT_DBFS
        clipped = float(np.mean([state is State.CLIPPING for _, _, state, _ in kept]))
        measured = LevelReport(
            seconds=float(len(kept)),
            noise_floor=SILENT_DBFS if floor is None else round(floor, 1),
            loud=round(loud, 1),
            peak=max(peak for _, peak, _, _ in kept),
            clipped=clipped,
            dead=all(state is State.DEAF for _, _, state, _ in kept),
        )
        return {
            "level": kept[-1][0],
            "peak": kept[-1][1],
            "noise_floor": None if floor is None else measured.noise_floor,
            "loud": measured.loud if len(music) else None,
            "gain": measured.gain if len(music) else 0.0,
            "advice": _advice(measured, music=len(music), floor=floor),
        }


def _advice(measured: LevelReport, *, music: int, floor: float | None) -> str:
    if measured.dead:
        return "the microphone sends nothing but zeros: it is muted, or not connected"
    if music < _LEAST:
        return "play music for half a minute to measure it"
    if measured.gain:
        fault, change = ("too loud", "lower") if measured.gain < 0 else ("too quiet", "raise")
        return f"{fault}: {change} the gain by about {abs(measured.gain):.0f} dB (alsamixer, then F4)"
    if floor is None:
        return "loud enough; pause the music for a moment to measure the noise of the room, too"
    if measured.loud - CREST - floor < _NEAR:
        return "music is hardly louder than the noise of the room: move it closer to the loudspeaker"
    return "placed well"
