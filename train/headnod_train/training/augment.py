"""Log-mel as other rooms, records and microphones would have made it.

Everything happens in mel power, because the archive holds no waveform: a gain
is a sum in decibels, equalisation a smooth curve over the bands, noise a sum of
powers. Some windows are heard through a loudspeaker, a room and a microphone,
whose ranges here are wider than any that evaluation draws from. Randomness is
passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import LogMel
from headnod_train.acoustics.bands import Bands, Transform
from headnod_train.acoustics.loudspeakers import Clipping, Transducer
from headnod_train.acoustics.noises import Hum, Noise
from headnod_train.acoustics.reverberation import Reverberation


@dataclass(frozen=True)
class MelAugmentation:
    """How far training windows are bent."""

    equalise: float = 4.0
    """Standard deviation of the equalisation curve, in decibels."""

    noise: tuple[float, float] = (15.0, 60.0)
    """Noise lies this far under the window's mean power, in decibels, uniformly."""

    compression: float = 0.0
    """Share of windows whose loudness a compressor evens out, at ratios up to 4. None, because it did not pay."""

    rooms: float = 0.35
    """Share of windows that are heard in a room, through devices, beside other sounds."""

    masks: int = 2
    """Stretches of bands, and as many of frames, that are silenced."""

    band_mask: int = 16
    """Widest silenced stretch of bands."""

    frame_mask: int = 6
    """Longest silenced stretch of frames."""

    mixup: float = 0.3
    """Shape of the Beta distribution of mixing weights; 0 mixes nothing."""


LEAD = 8
"""Frames before a window that its room still echoes."""

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
"""What happens to a window on its way through a room, each with its chance."""


def through_rooms(windows: LogMel, how: MelAugmentation, bands: Bands, rng: np.random.Generator) -> LogMel:
    """Send some windows through a loudspeaker, a room and a microphone.

    Args:
        windows: Decibels, shape (n, LEAD + frames, mels).
        how: Its `rooms` says how many.
        bands: What the mels are.
        rng: Where the randomness comes from.

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
    """Equalise, bury in noise and mask each window in its own way.

    Args:
        windows: Decibels, shape (n, frames, mels).
        how: How far.
        rng: Where the randomness comes from.

    Returns:
        Decibels of the same shape.
    """
    bent = _compressed(windows, how.compression, rng)
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


def _compressed(windows: LogMel, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Each frame moved towards its window's mean level, in some windows."""
    loudness = 10.0 * np.log10((10.0 ** (windows / 10.0)).mean(axis=2, keepdims=True))
    ratio = np.where(rng.random(len(windows)) < share, rng.uniform(1.0, 4.0, len(windows)), 1.0)[:, None, None]
    return windows + (1.0 / ratio - 1.0) * (loudness - loudness.mean(axis=1, keepdims=True))


def _curves(count: int, mels: int, deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random curves over the bands, shape (count, mels), in decibels."""
    waves = np.arange(1, 6)
    basis = np.cos(np.pi * waves[:, None] * (np.arange(mels) + 0.5) / mels)
    heights = rng.standard_normal((count, len(waves))) / np.sqrt(waves)
    return heights @ basis * deviation / np.sqrt(0.5 * (1.0 / waves).sum())


def _mask(windows: NDArray[np.float64], how: MelAugmentation, rng: np.random.Generator) -> None:
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
