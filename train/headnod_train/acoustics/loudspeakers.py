"""Loudspeakers and microphones: frequency response, resonances and clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import LogMel
from headnod_train.acoustics.bands import Bands, drawn, to_decibels, to_power

_FLOOR = -50.0
"""Lowest response of a transducer in decibels."""
_GRID = 256
"""Number of frequency steps for the computation of distortion."""


@dataclass(frozen=True)
class Transducer:
    """Loudspeakers or microphones drawn at random, one for each row."""

    low: tuple[float, float] = (60.0, 120.0)
    """Lower cut-off frequency in Hz, log-uniform."""

    high: tuple[float, float] = (9000.0, 16000.0)
    """Upper cut-off frequency in Hz, log-uniform."""

    order: tuple[int, int] = (2, 4)
    """Order of both filters: 6 dB per octave each."""

    resonances: int = 4
    """Number of peaks and dips between the cut-offs."""

    height: float = 3.0
    """Their standard deviation in decibels."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row through its own device; see `Transform.apply`."""
        return np.asarray(log_mel + self.responses(len(log_mel), bands, rng)[:, None], np.float32)

    def responses(self, rows: int, bands: Bands, rng: np.random.Generator) -> NDArray[np.float64]:
        """Decibels at each band, shape (rows, mels)."""
        octave = np.log2(np.maximum(bands.centres, 10.0))
        low, high = (np.log2(limit)[:, None] for limit in (_spread(self.low, rows, rng), _spread(self.high, rows, rng)))
        order = rng.integers(self.order[0], self.order[1] + 1, (2, rows, 1))
        # Butterworth's response.
        curve = -10.0 * np.log10(1.0 + 4.0 ** (order[0] * (low - octave)))
        curve -= 10.0 * np.log10(1.0 + 4.0 ** (order[1] * (octave - high)))
        for _ in range(self.resonances):
            place = low + (high - low) * rng.uniform(size=(rows, 1))
            width = rng.uniform(0.1, 0.6, (rows, 1))
            curve += rng.normal(0.0, self.height, (rows, 1)) * np.exp(-0.5 * np.square((octave - place) / width))
        return np.maximum(curve, _FLOOR)


@dataclass(frozen=True)
class Clipping:
    """Clipping of an overdriven input.

    Each frame is modelled as Gaussian noise of its spectrum and level, for which the remaining signal, the power of
    the distortion (Bussgang, 1952) and its spectrum (Price, 1958) are known.
    """

    headroom: tuple[float, float] = (3.0, 9.0)
    """Clipping level in decibels above the row's root mean square, uniform."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row clipped at its own level; see `Transform.apply`."""
        power = to_power(log_mel)
        loudness = np.maximum(bands.loudness(power), np.float32(1e-30))
        limit = loudness.mean(axis=1, keepdims=True) * 10.0 ** (drawn(self.headroom, len(power), rng)[..., 0] / 10.0)
        kept, third, fifth = (part.astype(np.float32) for part in _clipped(np.sqrt(limit / loudness)))
        to_grid, from_grid = _grid(bands)
        alike = np.fft.irfft(power @ to_grid, axis=2)
        alike = alike.astype(np.float32, copy=False) / np.maximum(alike[..., :1], np.float32(1e-30))
        square = np.square(alike)
        spread = alike * square * (third[..., None] + fifth[..., None] * square)
        distortion = np.maximum(np.fft.rfft(spread, axis=2).real, 0.0).astype(np.float32, copy=False) @ from_grid
        distortion *= (loudness * (third + fifth) / np.maximum(bands.loudness(distortion), 1e-30))[..., None]
        return to_decibels(power * kept[..., None] + distortion)


@lru_cache(maxsize=4)
def _grid(bands: Bands) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From bands to equal steps of frequency and back, by interpolation."""
    steps = np.linspace(0.0, bands.front_end.sample_rate / 2, _GRID + 1)
    there = np.stack([np.interp(steps, bands.centres, row) for row in np.eye(len(bands.centres))])
    back = np.stack([np.interp(bands.centres, steps, row) for row in np.eye(len(steps))])
    return there.astype(np.float32), back.astype(np.float32)


def _clipped(limit: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Gaussian noise of variance 1, clipped: power of the signal, and of distortion of the third and higher orders."""
    cut = np.minimum(np.asarray(limit, np.float64), 8.0)
    peak = np.exp(-np.square(cut) / 2.0) / np.sqrt(2.0 * np.pi)
    inside = np.vectorize(math.erf, otypes=[float])(cut / math.sqrt(2.0))
    whole = inside - 2.0 * cut * peak + np.square(cut) * (1.0 - inside)
    kept = np.square(inside)
    # The third Hermite coefficient of the clipper is -2 c phi(c), and its power that squared over 3!.
    third = np.minimum(np.square(2.0 * cut * peak) / 6.0, np.maximum(whole - kept, 0.0))
    return kept, third, np.maximum(whole - kept - third, 0.0)


def _spread(limits: tuple[float, float], rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]), rows))
