"""Augmentation of log-mel: equalisation, noise, masks, and rooms.

Everything happens in mel power, because an archive has no waveform: a gain is a sum in decibels, equalisation a
smooth curve over the bands, noise a sum of powers. Some windows pass a simulated loudspeaker, room and microphone,
with wider ranges than those of the evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import LogMel
from headnod_train.acoustics import Bands, Clipping, Hum, Noise, Reverberation, Transducer, Transform


@dataclass(frozen=True)
class MelAugmentation:
    """Strength of the augmentation of training windows."""

    equalise: float = 4.0
    """Standard deviation of the equalisation curve, in decibels."""

    noise: tuple[float, float] = (15.0, 60.0)
    """Level of noise below the window's mean power, in decibels, uniformly distributed."""

    compression: float = 0.0
    """Share of windows with dynamic compression, at ratios up to 4. Off, because it did not improve accuracy."""

    rooms: float = 0.35
    """Share of windows that pass a room, transducers and other sounds."""

    masks: int = 2
    """Number of masked ranges of bands, and of frames."""

    band_mask: int = 16
    """Largest number of masked bands."""

    frame_mask: int = 6
    """Largest number of masked frames."""

    mixup: float = 0.3
    """Shape of the Beta distribution of mixup weights; 0 turns mixup off."""


LEAD = 8
"""Frames before a window whose reverberation reaches into it."""

_IN_ROOMS: tuple[tuple[float, Transform], ...] = (
    (0.6, Transducer(low=(40.0, 400.0), high=(3500.0, 16000.0), height=4.0)),
    (0.8, Reverberation(decay=(0.15, 0.9), direct=(-6.0, 12.0), damping=(0.4, 1.0))),
    (0.15, Noise("pink", (5.0, 35.0))),
    (0.15, Noise("fan", (5.0, 35.0))),
    (0.15, Noise("babble", (5.0, 35.0))),
    (0.1, Hum((5.0, 30.0))),
    (0.1, Clipping((2.0, 12.0))),
    (0.5, Transducer(low=(40.0, 200.0), high=(6000.0, 16000.0))),
)
"""Transforms of a window in a room, each with its probability."""


def through_rooms(windows: LogMel, how: MelAugmentation, bands: Bands, rng: np.random.Generator) -> LogMel:
    """Apply loudspeaker, room and microphone to a share of windows.

    Args:
        windows: Decibels, shape (n, LEAD + frames, mels).
        how: `rooms` is the share.
        bands: Mel bands of the front end.
        rng: Random numbers.

    Returns:
        Decibels without the lead, shape (n, frames, mels).
    """
    away = rng.random(len(windows)) < how.rooms
    for chance, step in _IN_ROOMS:
        chosen = np.flatnonzero(away & (rng.random(len(windows)) < chance))
        if len(chosen):
            windows[chosen] = step.apply(windows[chosen], bands, rng)
    return windows[:, LEAD:]


def augment(windows: LogMel, how: MelAugmentation, rng: np.random.Generator) -> LogMel:
    """Equalise each window, add noise and mask parts of it, at random.

    Args:
        windows: Decibels, shape (n, frames, mels).
        how: Strength of each change.
        rng: Random numbers.

    Returns:
        Decibels of the same shape.
    """
    changed = _compressed(windows, how.compression, rng)
    changed += _curves(len(windows), windows.shape[2], how.equalise, rng)[:, None]
    power = 10.0 ** (changed / 10.0)
    mean = 10.0 * np.log10(power.mean(axis=(1, 2)))
    under = rng.uniform(*how.noise, len(windows))
    colour = _curves(len(windows), windows.shape[2], 5.0, rng) + (mean - under)[:, None]
    # One FFT frame of noise scatters by 5.6 dB around its mean; a band averages a few bins.
    grain = rng.gamma(2.0, 0.5, windows.shape)
    power += 10.0 ** (colour[:, None] / 10.0) * grain
    changed = 10.0 * np.log10(power)
    _mask(changed, how, rng)
    return changed.astype(np.float32)


def cosine_deviations(waves: NDArray[np.int64], deviation: float) -> NDArray[np.float64]:
    """Standard deviations of cosines, shape (waves,), whose sum has the given one over the bands; fast ones lower."""
    return deviation / np.sqrt(waves) / np.sqrt(0.5 * (1.0 / waves).sum())


def _compressed(windows: LogMel, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Move the level of each frame towards the mean of its window, in a share of windows."""
    loudness = 10.0 * np.log10((10.0 ** (windows / 10.0)).mean(axis=2, keepdims=True))
    ratio = np.where(rng.random(len(windows)) < share, rng.uniform(1.0, 4.0, len(windows)), 1.0)[:, None, None]
    return windows + (1.0 / ratio - 1.0) * (loudness - loudness.mean(axis=1, keepdims=True))


def _curves(count: int, mels: int, deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random curves over the bands, shape (count, mels), in decibels."""
    waves = np.arange(1, 6)
    basis = np.cos(np.pi * waves[:, None] * (np.arange(mels) + 0.5) / mels)
    return rng.standard_normal((count, len(waves))) * cosine_deviations(waves, deviation) @ basis


def _mask(windows: NDArray[np.float64], how: MelAugmentation, rng: np.random.Generator) -> None:
    """SpecAugment (Park and others, 2019): set ranges to each window's mean, in place."""
    for window in windows:
        mean = window.mean()
        for _ in range(how.masks):
            width = int(rng.integers(how.band_mask + 1))
            start = int(rng.integers(window.shape[1] - width + 1))
            window[:, start : start + width] = mean
            length = int(rng.integers(min(how.frame_mask, window.shape[0]) + 1))
            start = int(rng.integers(window.shape[0] - length + 1))
            window[start : start + length] = mean
