"""Loudness of windows, and the noise floor of the room."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio

SILENT_DBFS = -120.0
"""Lower limit of all levels, the level of digital silence."""

_FULL_SCALE = 0.999
_PIECE, _RATE = 1708, 22_050
"""Length of a piece (77 ms) in samples, at this sample rate."""
_FAINT = 20.0
"""Decibels below the loudest piece of a window at which a piece before the onset counts as silence."""
_DOUBTFUL = 1e-5
"""Power below which a piece may be constant, with a rounding error."""


def dbfs(audio: Audio, *, peak: bool = False) -> float:
    """Root mean square of audio without its mean, or its peak, in dBFS.

    >>> dbfs(np.tile([0.5, -0.5], 100).astype(np.float32))
    -6.020599913279624
    """
    return decibels(_peak(audio) if peak else float(audio.std(dtype=np.float64)))


def decibels(amplitude: float) -> float:
    """An amplitude in decibels relative to 1, at least `SILENT_DBFS`."""
    return max(20.0 * math.log10(max(amplitude, 1e-9)), SILENT_DBFS)


def clipped_share(audio: Audio) -> float:
    """Share of samples at full scale (0-1)."""
    return np.count_nonzero(np.abs(audio) >= _FULL_SCALE) / audio.size if _peak(audio) >= _FULL_SCALE else 0.0


def is_dead(audio: Audio) -> bool:
    """All samples are equal, which a working microphone never sends."""
    return bool(audio.max() == audio.min())


def _peak(audio: Audio) -> float:
    return max(float(audio.max()), -float(audio.min()))


class Loudness(NamedTuple):
    """Loudness of one window."""

    level: float
    """Root mean square without the mean, in dBFS."""

    peak: float
    """Largest sample, in dBFS."""

    clipped: float
    """Share of samples at full scale (0-1)."""

    dead: bool
    """All samples are equal."""

    quietest: float | None
    """Level of the quietest piece of 77 ms in dBFS; None if all pieces are constant."""

    onset: int
    """Samples before the sound starts, if it lasts to the end of the window; otherwise 0."""


class LoudnessMeter:
    """Measures windows of one length in preallocated memory.

    >>> meter = LoudnessMeter(1708)
    >>> round(meter.measure(np.tile([0.5, -0.5], 854).astype(np.float32)).level, 3)
    -6.021
    """

    def __init__(self, size: int, rate: int = _RATE) -> None:
        """Allocate memory for windows of `size` samples at `rate` samples per second."""
        self._centred, self._ones = np.empty(size, np.float32), np.ones(size, np.float32)
        # Pieces are aligned to the end of the window; less than a piece at its start is ignored.
        self._piece = round(_PIECE * rate / _RATE)
        self._rest = size % self._piece

    def measure(self, audio: Audio) -> Loudness:
        """Loudness of one window, shape (size,)."""
        # Sums are computed as products with ones: BLAS is vectorised, the sum of numpy is not.
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
            onset=_onset(powers, self._rest, self._piece),
        )


def _quietest(pieces: NDArray[np.float32], powers: NDArray[np.float32]) -> float | None:
    if powers.size and powers.min() < _DOUBTFUL:
        powers = powers[np.ptp(pieces, axis=1) > 0]
    return 20.0 * math.log10(max(math.sqrt(max(float(powers.min()), 0.0)), 1e-6)) if powers.size else None


def _onset(powers: NDArray[np.float32], rest: int, piece: int) -> int:
    # Relative to the loudest piece, because the mean falls with the length of the silence.
    sounding = powers > powers.max(initial=0.0) * 10.0 ** (-_FAINT / 10.0)
    first = int(sounding.argmax()) if sounding[-1:].any() else 0
    return rest + first * piece if first else 0


class NoiseFloor:
    """Noise floor of the room: the quietest piece of recent windows without music.

    Update it with windows of silence or steady noise only. Compressed music has no
    quiet pieces and would become its own noise floor.
    """

    CEILING = -55.0
    """Upper limit of the noise floor in dBFS: steady sound above it may be a held note of music."""

    MEMORY = 600.0
    """Seconds for which a quiet piece counts."""

    def __init__(self, *, every: float) -> None:
        """Start without windows; they will be `every` seconds apart."""
        self._quietest: deque[float] = deque(maxlen=max(1, round(self.MEMORY / every)))

    def update(self, quietest: float | None) -> None:
        """Add the level of the quietest piece of a window, in dBFS; None is ignored."""
        if quietest is not None:
            self._quietest.append(quietest)

    @property
    def floor(self) -> float:
        """The noise floor in dBFS, at most `CEILING`; `SILENT_DBFS` before the first update."""
        return min(*self._quietest, self.CEILING) if self._quietest else SILENT_DBFS
