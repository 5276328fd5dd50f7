"""How loud audio is, and how loud the room is when nobody plays music."""

from __future__ import annotations

from collections import deque

import numpy as np

from headnod.frontend import Audio

SILENT_DBFS = -120.0
"""What digital silence is called, where a logarithm would say minus infinity."""

_FULL_SCALE = 0.999
_PIECE = 1708


def dbfs(audio: Audio, *, peak: bool = False) -> float:
    """Root mean square of audio about its mean, or its peak, in decibels below full scale."""
    return decibels(float(np.abs(audio).max()) if peak else float(audio.std(dtype=np.float64)))


def decibels(amplitude: float) -> float:
    """An amplitude in decibels, 0 dB at 1, not under `SILENT_DBFS`."""
    return max(20.0 * float(np.log10(max(amplitude, 1e-9))), SILENT_DBFS)


def clipped_share(audio: Audio) -> float:
    """Share of samples at full scale (0-1)."""
    return float((np.abs(audio) >= _FULL_SCALE).mean())


def is_dead(audio: Audio) -> bool:
    """All samples are the same number, as no microphone with current sends them."""
    return bool(audio.max() == audio.min())


class NoiseFloor:
    """Level of the room when nothing plays: the quietest moment of late.

    Between notes and words even a busy room falls back to its hum and hiss for
    a moment, so the minimum over short pieces finds it while music plays.
    """

    CEILING = -55.0
    """No room is called noisier than this, in dBFS: compressed music has no
    quiet moments, and must not be taken for a fan."""

    MEMORY = 600.0
    """Seconds after which a quiet moment is forgotten."""

    def __init__(self, *, every: float) -> None:
        """Start with nothing known, told a window every so many seconds."""
        self._quietest: deque[float] = deque(maxlen=max(1, round(self.MEMORY / every)))

    def update(self, audio: Audio) -> None:
        """Hear one window, shape (n,). Dead moments tell nothing of the room."""
        pieces = audio[: audio.size // _PIECE * _PIECE].reshape(-1, _PIECE)
        spread = pieces.std(axis=1)[np.ptp(pieces, axis=1) > 0]
        if spread.size:
            self._quietest.append(20.0 * float(np.log10(max(float(spread.min()), 1e-6))))

    @property
    def floor(self) -> float:
        """The noise floor in dBFS, at most `CEILING`."""
        return min(*self._quietest, self.CEILING) if self._quietest else SILENT_DBFS
