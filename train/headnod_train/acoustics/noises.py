"""Noise in a room: steady noise, fans, voices and mains hum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import LogMel
from headnod_train.acoustics.bands import Bands, Power, drawn, to_decibels, to_power

Kind = Literal["white", "pink", "fan", "babble"]

_SPEECH_HERTZ = (63, 125, 200, 315, 500, 800, 1250, 2000, 3150, 5000, 8000, 11000)
_SPEECH_LEVEL = (38.6, 57.7, 60.4, 60.3, 62.1, 56.8, 53.0, 48.7, 48.9, 46.3, 43.0, 39.0)
"""Long-term average spectrum of speech: level in third octaves (Byrne and others, 1994)."""
_TALKERS = 5


@dataclass(frozen=True)
class Noise:
    """One kind of noise at some signal-to-noise ratio."""

    kind: Kind
    """`white`; `pink` falls by 3 dB an octave; `fan` by 6, with the tones of its
    blades; `babble` is several people talking at once."""

    snr: tuple[float, float] = (20.0, 20.0)
    """Signal-to-noise ratio in decibels, uniform."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row with its own noise; see `Transform.apply`."""
        return _joined(log_mel, _KINDS[self.kind](len(log_mel), log_mel.shape[1], bands, rng), self.snr, bands, rng)


@dataclass(frozen=True)
class Hum:
    """Mains hum and its overtones."""

    snr: tuple[float, float] = (10.0, 20.0)
    """Signal-to-hum ratio in decibels, uniform."""

    overtones: int = 24
    """Number of tones; each octave is 3 to 9 dB weaker."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row with its own hum; see `Transform.apply`."""
        rows, number = len(log_mel), np.arange(1, self.overtones + 1)
        mains = rng.integers(2, size=rows)
        falling = rng.uniform(3.0, 9.0, (rows, 1)) * np.log2(number)
        heights = 10.0 ** ((rng.normal(0.0, 6.0, (rows, self.overtones)) - falling) / 10.0)
        tones = heights.astype(np.float32)[:, None] @ _mains(bands, self.overtones)[mains]
        return _joined(log_mel, np.broadcast_to(tones, log_mel.shape), self.snr, bands, rng)


@lru_cache(maxsize=4)
def _mains(bands: Bands, overtones: int) -> NDArray[np.float32]:
    """Mel power of each overtone at 50 and at 60 Hz, shape (2, overtones, mels)."""
    return bands.tones(np.array([[50.0], [60.0]]) * np.arange(1, overtones + 1))


def _joined(log_mel: LogMel, sound: Power, snr: tuple[float, float], bands: Bands, rng: np.random.Generator) -> LogMel:
    power = to_power(log_mel)
    ratio = bands.loudness(power).mean(axis=1) / np.maximum(bands.loudness(sound).mean(axis=1), np.float32(1e-30))
    level = ratio[:, None, None] * 10.0 ** (-drawn(snr, len(power), rng) / 10.0)
    return to_decibels(power + sound * level)


def _coloured(falling: float, rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    """Gaussian noise that falls by `falling` decibels per octave above 100 Hz."""
    octaves = np.log2(np.maximum(bands.centres, 100.0) / 100.0)
    return bands.grain(rows, frames, rng) * (10.0 ** (-falling * octaves / 10.0)).astype(np.float32)


def _white(rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    return _coloured(0.0, rows, frames, bands, rng)


def _pink(rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    return _coloured(3.0, rows, frames, bands, rng)


def _fan(rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    air = _coloured(6.0, rows, frames, bands, rng)
    number = np.arange(1, 6)
    blades = rng.uniform(60.0, 240.0, (rows, 1)) * number
    heights = rng.gamma(2.0, 0.5, (rows, number.size)) / number**2
    tones = (heights.astype(np.float32)[:, None] @ bands.tones(blades))[:, 0]
    share = bands.loudness(air).mean(axis=1) / np.maximum(bands.loudness(tones[:, None])[:, 0], np.float32(1e-30))
    return air + tones[:, None] * (share * rng.uniform(0.1, 0.6, rows).astype(np.float32))[:, None, None]


def _babble(rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    """Voices that vary by syllables and vowels."""
    third = np.interp(np.log(np.maximum(bands.centres, 1.0)), np.log(_SPEECH_HERTZ), _SPEECH_LEVEL)
    density = third - 10.0 * np.log10(np.maximum(bands.centres, 60.0))
    waves = np.arange(2, 10)
    vowels = np.cos(np.pi * waves[:, None] * (np.arange(len(third)) + 0.5) / len(third))
    voices = np.zeros((rows, frames, len(third)), np.float32)
    for _ in range(_TALKERS):
        loud = 7.0 * _wandering((rows, frames, 1), 0.12 / bands.seconds, rng)
        shape = 3.0 * _wandering((rows, frames, len(waves)), 0.2 / bands.seconds, rng) @ vowels
        voices += 10.0 ** ((density + np.minimum(loud, 7.0) + shape + rng.normal(0.0, 3.0, (rows, 1, 1))) / 10.0)
    return voices * bands.grain(rows, frames, rng)


def _wandering(shape: tuple[int, int, int], memory: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """First-order autoregressive noise of variance 1 along the second axis; `memory` is its time constant in frames."""
    keep = np.exp(-1.0 / memory)
    moved = rng.standard_normal(shape)
    for frame in range(1, shape[1]):
        moved[:, frame] = keep * moved[:, frame - 1] + np.sqrt(1.0 - keep**2) * moved[:, frame]
    return moved


_KINDS: dict[Kind, Callable[[int, int, Bands, np.random.Generator], Power]] = {
    "white": _white,
    "pink": _pink,
    "fan": _fan,
    "babble": _babble,
}
