"""Log-mel as other rooms, records and microphones would have made it.

Everything happens in mel power, because the archive holds no waveform: a gain
is a sum in decibels, equalisation a smooth curve over the bands, noise a sum of
powers. Randomness is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.frontend import LogMel


@dataclass(frozen=True)
class Augmentation:
    """How far training windows are bent."""

    equalise: float = 4.0
    """Standard deviation of the equalisation curve, in decibels."""

    noise: tuple[float, float] = (15.0, 60.0)
    """Noise lies this far under the window's mean power, in decibels, uniformly."""

    warp: float = 0.06
    """Bands are stretched along the mel axis by up to this share, as another pitch would."""

    contrast: float = 0.2
    """Differences in decibels are scaled by up to this share, as a compressor would."""

    masks: int = 2
    """Stretches of bands, and as many of frames, that are silenced."""

    band_mask: int = 16
    """Widest silenced stretch of bands."""

    frame_mask: int = 6
    """Longest silenced stretch of frames."""

    mixup: float = 0.5
    """Shape of the Beta distribution of mixing weights; 0 mixes nothing."""


def bend(windows: LogMel, how: Augmentation, rng: np.random.Generator) -> LogMel:
    """Stretch, equalise, bury in noise and mask each window in its own way.

    Args:
        windows: Decibels, shape (n, frames, mels).
        how: How far.
        rng: Where the randomness comes from.

    Returns:
        Decibels of the same shape.
    """
    bent = _warp(windows, how.warp, rng)
    loudest = bent.max(axis=(1, 2), keepdims=True)
    bent = loudest + (bent - loudest) * rng.uniform(1.0 - how.contrast, 1.0 + how.contrast, (len(bent), 1, 1))
    bent += _curves(len(windows), windows.shape[2], how.equalise, rng)[:, None]
    power = 10.0 ** (bent / 10.0)
    mean = 10.0 * np.log10(power.mean(axis=(1, 2)))
    under = rng.uniform(*how.noise, len(windows))
    colour = _curves(len(windows), windows.shape[2], 5.0, rng) + (mean - under)[:, None]
    # One FFT frame of noise scatters by 5.6 dB around its mean; a band averages a few bins.
    grain = rng.gamma(2.0, 0.5, windows.shape)
    power += 10.0 ** (colour[:, None] / 10.0) * grain
    bent = 10.0 * np.log10(power)
    _mask(bent, how, rng)
    return bent.astype(np.float32)


def mix(
    features: NDArray[np.float32], answers: NDArray[np.float32], how: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup (Zhang and others, 2018): blend each row with another, answers too.

    Args:
        features: Shape (n, frames, n_mfcc).
        answers: Probabilities, shape (n, labels).
        how: Its `mixup` shapes the weights.
        rng: Where the randomness comes from.
    """
    if not how.mixup:
        return features, answers
    weight = rng.beta(how.mixup, how.mixup, len(features)).astype(np.float32)
    weight = np.maximum(weight, 1.0 - weight)
    other = rng.permutation(len(features))
    blended = features * weight[:, None, None] + features[other] * (1.0 - weight)[:, None, None]
    return blended, answers * weight[:, None] + answers[other] * (1.0 - weight)[:, None]


def _warp(windows: LogMel, most: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Stretch the band axis of each window (vocal tract length perturbation, Jaitly and Hinton, 2013)."""
    mels = windows.shape[2]
    factors = rng.uniform(1.0 - most, 1.0 + most, (len(windows), 1))
    places = np.minimum(np.arange(mels) * factors, mels - 1.0)
    lower = places.astype(np.intp)
    upper = np.minimum(lower + 1, mels - 1)
    share = (places - lower)[:, None]
    below = np.take_along_axis(windows, lower[:, None], axis=2)
    return below + (np.take_along_axis(windows, upper[:, None], axis=2) - below) * share


def _curves(count: int, mels: int, deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random curves over the bands, shape (count, mels), in decibels."""
    waves = np.arange(1, 6)
    basis = np.cos(np.pi * waves[:, None] * (np.arange(mels) + 0.5) / mels)
    heights = rng.standard_normal((count, len(waves))) / np.sqrt(waves)
    return heights @ basis * deviation / np.sqrt(0.5 * (1.0 / waves).sum())


def _mask(windows: NDArray[np.float64], how: Augmentation, rng: np.random.Generator) -> None:
    """SpecAugment (Park and others, 2019): put stretches at each window's mean, in place."""
    for window in windows:
        mean = window.mean()
        for _ in range(how.masks):
            width = int(rng.integers(how.band_mask + 1))
            start = int(rng.integers(window.shape[1] - width + 1))
            window[:, start : start + width] = mean
            length = int(rng.integers(min(how.frame_mask, window.shape[0]) + 1))
            start = int(rng.integers(window.shape[0] - length + 1))
            window[start : start + length] = mean
