"""The mel bands as filters: frequencies, widths, and the statistics of noise in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import FrontEnd, LogMel

Power = NDArray[np.float32]
"""Mel power, shape (n, frames, mels)."""

_LEAST = 1e-30


@dataclass(frozen=True)
class Bands:
    """The mel bands of a front end."""

    front_end: FrontEnd

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """Corners of the triangles in Hz, shape (mels + 2,)."""
        return self.front_end.corners

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centre frequencies in Hz, shape (mels,)."""
        return self.corners[1:-1]

    @cached_property
    def widths(self) -> NDArray[np.float32]:
        """Weight of each band's power in the total power, shape (mels,)."""
        if self.front_end.mel_norm == "none":
            return np.ones(self.front_end.n_mels, np.float32)
        return (0.5 * (self.corners[2:] - self.corners[:-2])).astype(np.float32)

    @property
    def seconds(self) -> float:
        """Seconds between frames."""
        return self.front_end.hop / self.front_end.sample_rate

    @cached_property
    def hertz(self) -> NDArray[np.float64]:
        """Frequency of each FFT bin in Hz, shape (n_fft // 2 + 1,)."""
        front_end = self.front_end
        return np.arange(front_end.n_fft // 2 + 1, dtype=np.float64) * (front_end.sample_rate / front_end.n_fft)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Share of each bin in the mean of each band, shape (bins, mels); columns sum to 1."""
        lower, centre, upper = self.corners[:-2], self.corners[1:-1], self.corners[2:]
        hertz = self.hertz[:, None]
        triangles = np.maximum(np.minimum((hertz - lower) / (centre - lower), (upper - hertz) / (upper - centre)), 0.0)
        sums = triangles.sum(axis=0)
        # A band narrower than a bin gets the bin nearest to its centre.
        empty = np.flatnonzero(sums <= 0.0)
        triangles[np.abs(hertz - centre[empty]).argmin(axis=0), empty] = 1.0
        return triangles / triangles.sum(axis=0)

    @cached_property
    def freedom(self) -> NDArray[np.float32]:
        """Number of independent bins in each band, shape (mels,).

        The power of Gaussian noise in a band is a gamma variable of this shape.
        Neighbouring bins of a Hann window share 4/9 of their variance, the next
        but one 1/36.
        """
        weights, shares = self.weights, (4 / 9, 1 / 36)
        spread = np.square(weights).sum(axis=0)
        for apart, share in enumerate(shares, start=1):
            spread += 2.0 * share * (weights[apart:] * weights[:-apart]).sum(axis=0)
        return (1.0 / spread).astype(np.float32)

    def loudness(self, power: Power) -> NDArray[np.float32]:
        """Total power of each frame, shape (n, frames)."""
        return power @ self.widths

    def grain(self, rows: int, frames: int, rng: np.random.Generator) -> Power:
        """Power of Gaussian noise with mean 1, shape (rows, frames, mels)."""
        shape = (rows, frames, len(self.freedom))
        return rng.standard_gamma(np.broadcast_to(self.freedom, shape), dtype=np.float32) / self.freedom

    def tones(self, hertz: NDArray[np.float64]) -> NDArray[np.float32]:
        """Mel power of steady tones of power 1, on the scale of `loudness`.

        Args:
            hertz: Their frequencies, shape (..., tones).

        Returns:
            Shape (..., tones, mels).
        """
        apart = (self.hertz - np.asarray(hertz)[..., None]) / self.hertz[1]
        # The spectrum of a Hann window, squared; at one bin's distance its limit is a quarter.
        with np.errstate(divide="ignore", invalid="ignore"):
            lobes = np.square(np.sinc(apart) / (1.0 - np.square(apart)))
        lobes = np.where(np.abs(np.abs(apart) - 1.0) < 1e-6, 0.25, lobes)  # noqa: PLR2004 - the limit's neighbourhood
        lobes /= np.maximum(lobes.sum(axis=-1, keepdims=True), _LEAST)
        return ((lobes @ self.weights) / self.hertz[1]).astype(np.float32)


class Transform(Protocol):
    """A change of sound between recording and listener."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Transform each row with its own random parameters.

        Args:
            log_mel: Decibels, shape (n, frames, mels): windows or whole tracks.
            bands: Mel bands of the front end.
            rng: Random numbers.

        Returns:
            Decibels of the same shape.
        """
        ...


def apply_all(steps: Sequence[Transform], log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
    """Apply transforms in order; shapes as in `Transform.apply`."""
    for step in steps:
        log_mel = step.apply(log_mel, bands, rng)
    return log_mel


def to_power(log_mel: LogMel) -> Power:
    """Mel power of decibels."""
    return np.power(np.float32(10.0), np.asarray(log_mel, np.float32) / np.float32(10.0))


def to_decibels(power: Power) -> LogMel:
    """Decibels of mel power."""
    return np.float32(10.0) * np.log10(np.maximum(power, np.float32(_LEAST)))


def drawn(limits: tuple[float, float], rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A uniform random number between limits for each row, shape (rows, 1, 1)."""
    return rng.uniform(*limits, (rows, 1, 1)).astype(np.float32)
