"""How loud audio is, and how loud the room is when nobody plays music."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio

SILENT_DBFS = -120.0
"""What digital silence is called, where a logarithm would say minus infinity."""

_FULL_SCALE = 0.999
_PIECE, _RATE = 1708, 22_050
"""Samples of a moment, and the sample rate at which it has so many: 77 ms."""
_FAINT = 20.0
"""Decibels under a window's loudest moment from which a moment at its head is none of its sound."""
_DOUBTFUL = 1e-5
"""A piece that varies more than this is alive, whatever rounding did to it."""


def dbfs(audio: Audio, *, peak: bool = False) -> float:
    """Root mean square of audio about its mean, or its peak, in decibels below full scale."""
    return decibels(_peak(audio) if peak else float(audio.std(dtype=np.float64)))


def decibels(amplitude: float) -> float:
    """An amplitude in decibels, 0 dB at 1, not under `SILENT_DBFS`."""
    return max(20.0 * math.log10(max(amplitude, 1e-9)), SILENT_DBFS)


def clipped_share(audio: Audio) -> float:
    """Share of samples at full scale (0-1)."""
    return np.count_nonzero(np.abs(audio) >= _FULL_SCALE) / audio.size if _peak(audio) >= _FULL_SCALE else 0.0


def is_dead(audio: Audio) -> bool:
    """All samples are the same number, as no microphone with current sends them."""
    return bool(audio.max() == audio.min())


def _peak(audio: Audio) -> float:
    return max(float(audio.max()), -float(audio.min()))


class Loudness(NamedTuple):
    """How loud a window is."""

    level: float
    """Root mean square about the mean, in dBFS."""

    peak: float
    """Largest sample, in dBFS."""

    clipped: float
    """Share of samples at full scale (0-1)."""

    dead: bool
    """All samples are the same number."""

    quietest: float | None
    """Level of the quietest moment, in dBFS; None if no moment was alive."""

    onset: int
    """Samples before sound begins, where it lasts to the end of the window; 0 elsewhere."""


class LoudnessMeter:
    """Measures windows of one length in one pass, in memory that is made once.

    >>> meter = LoudnessMeter(1708)
    >>> round(meter.read(np.tile([0.5, -0.5], 854).astype(np.float32)).level, 3)
    -6.021
    """

    def __init__(self, size: int, rate: int = _RATE) -> None:
        """Make room for windows of so many samples at a sample rate."""
        self._centred, self._ones = np.empty(size, np.float32), np.ones(size, np.float32)
        # Pieces lie so that the newest sound is in one; up to a piece at the head is in none.
        self._piece = round(_PIECE * rate / _RATE)
        self._rest = size % self._piece

    def read(self, audio: Audio) -> Loudness:
        """Loudness of one window, shape (size,)."""
        # Sums are products with ones: numpy adds up one number at a time where BLAS takes eight.
        mean = np.dot(audio, self._ones) / np.float32(audio.size)
        centred = np.subtract(audio, mean, out=self._centred)
        lowest, highest = float(audio.min()), float(audio.max())
        peak, power = max(highest, -lowest), float(np.dot(centred, centred)) / audio.size
        pieces = centred[self._rest :].reshape(-1, self._piece)
        means = pieces @ self._ones[: self._piece] / np.float32(self._piece)
        powers = np.einsum("ij,ij->i", pieces, pieces) / np.float32(self._piece) - np.square(means)
        return Loudness(
            level=decibels(math.sqrt(power)),
            peak=decibels(peak),
            clipped=clipped_share(audio) if peak >= _FULL_SCALE else 0.0,
            dead=lowest == highest,
            quietest=_quietest(pieces, powers),
            onset=_hush(powers, self._rest, self._piece),
        )


def _quietest(pieces: NDArray[np.float32], powers: NDArray[np.float32]) -> float | None:
    if powers.size and powers.min() < _DOUBTFUL:
        powers = powers[np.ptp(pieces, axis=1) > 0]
    return 20.0 * math.log10(max(math.sqrt(max(float(powers.min()), 0.0)), 1e-6)) if powers.size else None


def _hush(powers: NDArray[np.float32], rest: int, piece: int) -> int:
    # The loudest moment, not the mean: that falls where little sounds, and the room would be taken for sound.
    sounding = powers > powers.max(initial=0.0) * 10.0 ** (-_FAINT / 10.0)
    first = int(sounding.argmax()) if sounding[-1:].any() else 0
    return rest + first * piece if first else 0


class NoiseFloor:
    """Level of the room when nothing plays: the quietest moment of the windows that held no music.

    Windows of silence or steady noise alone have a say. Compressed music has no
    quiet moments, and would be taken for its own noise.
    """

    CEILING = -55.0
    """No room is called noisier than this, in dBFS: what is steady for a while may still be a held tone of music."""

    MEMORY = 600.0
    """Seconds after which a quiet moment is forgotten."""

    def __init__(self, *, every: float) -> None:
        """Start with nothing known, told a window every so many seconds."""
        self._quietest: deque[float] = deque(maxlen=max(1, round(self.MEMORY / every)))

    def update(self, quietest: float | None) -> None:
        """Hear of a window's quietest moment, in dBFS. Dead moments tell nothing of the room."""
        if quietest is not None:
            self._quietest.append(quietest)

    @property
    def floor(self) -> float:
        """The noise floor in dBFS, at most `CEILING`."""
        return min(*self._quietest, self.CEILING) if self._quietest else SILENT_DBFS
