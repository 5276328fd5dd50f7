"""Reverberation in mel power.

Power responses of rooms add up over time like the powers of independent noises (Polack, 1988; mel-domain model of
Sehr and Kellermann, 2008), so a room is a few gains per band: the share of a frame's power that arrives at once, one
frame later, two frames later, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio, LogMel
from headnod_train.acoustics.bands import Bands, Power, drawn, to_decibels, to_power

_DECAY = 6.0 * np.log(10.0)
"""A power that falls by 60 dB has fallen by e to this."""
_KNEE = 1000.0
"""Frequency in Hz above which absorption rises."""


@dataclass(frozen=True)
class Reverberation:
    """Rooms drawn at random, one for each row."""

    decay: tuple[float, float] = (0.3, 0.7)
    """Decay time (RT60) up to 1 kHz in seconds, uniform."""

    direct: tuple[float, float] = (-3.0, 6.0)
    """Direct-to-reverberant ratio in decibels, uniform."""

    damping: tuple[float, float] = (0.5, 0.9)
    """Decay time at 8 kHz as a share of that at 1 kHz, uniform."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row in its own room; see `Transform.apply`."""
        rows = len(log_mel)
        octaves = np.maximum(np.log2(np.maximum(bands.centres, 1.0) / _KNEE), 0.0).astype(np.float32)
        seconds = drawn(self.decay, rows, rng) * drawn(self.damping, rows, rng) ** (octaves / 3.0)
        rate = np.float32(_DECAY * bands.seconds) / seconds
        taps = 1 + int(np.ceil(_DECAY / float(rate.min())))
        late = np.arange(1, taps, dtype=np.float32)[None, :, None]
        # Sound between two frames is shared between them by its distance from each.
        gains = np.concatenate([rate - 1.0 + np.exp(-rate), np.exp(-rate * late) * (2.0 * np.cosh(rate) - 2.0)], axis=1)
        gains *= 10.0 ** (-drawn(self.direct, rows, rng) / 10.0) / rate
        gains[:, :1] *= bands.grain(rows, 1, rng)
        gains[:, :1] += 1.0
        return to_decibels(_tailed(to_power(log_mel), gains.astype(np.float32), bands, rng))


@dataclass(frozen=True, eq=False)
class MeasuredRooms:
    """Rooms whose impulse responses were recorded, one drawn for each row."""

    rooms: tuple[NDArray[np.float32], ...]
    """Gains of each, shape (taps, mels): see `gains_of`."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row in one of the rooms; see `Transform.apply`."""
        power = to_power(log_mel)
        chosen = rng.integers(len(self.rooms), size=len(power))
        rows = [_tailed(row[None], self.rooms[room][None], bands, rng) for row, room in zip(power, chosen, strict=True)]
        return to_decibels(np.concatenate(rows))


def gains_of(response: Audio, bands: Bands) -> NDArray[np.float32]:
    """Gains of mel power for an impulse response.

    Args:
        response: Mono, shape (n,), at the front end's rate. Time counts from its peak.
        bands: Mel bands of the front end.

    Returns:
        Gains, shape (taps, mels): share of a frame's power that arrives `tap` frames
        later. Their mean over the bands is 1 at the first tap.
    """
    hop, size = bands.front_end.hop, bands.front_end.n_fft
    response = np.asarray(response[int(np.abs(response).argmax()) :], np.float64)
    taps = 1 + -(-response.size // hop)
    padded = np.concatenate([response, np.zeros(taps * hop + hop - response.size)])
    gains = []
    for tap in range(taps):
        start = max((tap - 1) * hop, 0)
        piece = padded[start : (tap + 1) * hop]
        nearness = 1.0 - np.abs(np.arange(start, start + piece.size) / hop - tap)
        spectrum = np.fft.rfft(piece * np.sqrt(np.maximum(nearness, 0.0)), max(size, 2 * hop))
        places = np.arange(spectrum.size) * (bands.front_end.sample_rate / max(size, 2 * hop))
        gains.append(np.interp(bands.hertz, places, np.square(np.abs(spectrum))) @ bands.weights)
    found = np.array(gains)
    return (found / found[0].mean()).astype(np.float32)


def _tailed(power: Power, gains: NDArray[np.float32], bands: Bands, rng: np.random.Generator) -> Power:
    """Each frame plus the tails of earlier frames, with the random variation of many reflections."""
    tails = np.zeros_like(power)
    for tap in range(1, min(gains.shape[1], power.shape[1])):
        tails[:, tap:] += power[:, :-tap] * gains[:, tap, None]
    return power * gains[:, :1] + tails * bands.grain(len(power), power.shape[1], rng)
