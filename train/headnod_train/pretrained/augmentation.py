"""Input of the network: mel power at a fixed level, with augmentation for training.

Equalisation and noise are random and applied in mel power; rooms, loudspeakers and codecs are part of the prepared
windows. A share of the windows is clean and gets a simulated room instead, because each prepared window has one room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio
from headnod_train.acoustics.bands import Bands
from headnod_train.acoustics.loudspeakers import Transducer
from headnod_train.acoustics.reverberation import MeasuredRooms, Reverberation, gains_of
from headnod_train.distillation.recordings import Kind
from headnod_train.distillation.window_sets import GENRE, WindowSet

LEVEL = -6.0
"""Mean mel power of every window, in decibels, so that the output does not depend on volume."""

_LEAST = 1e-12
_BANDS = Bands(GENRE)
# From dry to the far end of a hard living room: early over late energy (C50) of 0 to 15 dB.
_ROOM = Reverberation(decay=(0.2, 1.2), direct=(-14.0, 4.0))
_LOUDSPEAKER = Transducer(low=(40.0, 200.0), high=(5000.0, 14_000.0), order=(1, 4), height=2.0)
_MEASURED = 0.5
"""Share of measured rooms among the simulated ones, if there are measured rooms."""


MUSIC: tuple[Kind, ...] = ("music", "gtzan")
"""Kinds of windows with targets for genre and tags."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of mel power, drawn for each window."""

    rooms: float = 0.5
    """Share of degraded windows that are clean windows in a simulated room; the others are prepared windows."""

    tilt: float = 3.0
    """Standard deviation of bass and treble, in decibels at the ends of the spectrum."""

    bumps: float = 2.0
    """Standard deviation of smooth peaks and dips between them, in decibels."""

    noisy: float = 0.3
    """Share of windows with steady noise."""

    snr: tuple[float, float] = (5.0, 30.0)
    """Signal-to-noise ratio in decibels, uniform."""

    level: float = 1.5
    """Largest change of level in decibels, uniform."""


def network_input(
    log_mel: NDArray[np.floating], offset: float, *, level: float | NDArray[np.float32] = LEVEL
) -> NDArray[np.float32]:
    """Input of the network.

    Args:
        log_mel: Decibels of mel power, (n, frames, bands).
        offset: Subtracted from all values; see `headnod_train.pretrained.pruning`.
        level: Mean power to set, in decibels; one number, or (n, 1, 1).

    Returns:
        log10(1 + 10000 p) minus the offset, (n, frames, bands).
    """
    power = np.power(10.0, np.asarray(log_mel, np.float32) / np.float32(10.0))
    return compressed(power, offset, level=level)


def augmented(
    log_mel: NDArray[np.floating], offset: float, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Input of the network for randomly changed windows; see `network_input`."""
    rows, _, bands = log_mel.shape
    decibels = np.asarray(log_mel, np.float32) + _equaliser(rows, bands, augmentation, rng)[:, None]
    power = np.power(np.float32(10.0), decibels / np.float32(10.0))
    noisy = np.flatnonzero(rng.random(rows) < augmentation.noisy)
    if noisy.size:
        power[noisy] += _noise(power[noisy], augmentation, rng)
    level = LEVEL + rng.uniform(-augmentation.level, augmentation.level, (rows, 1, 1)).astype(np.float32)
    return compressed(power, offset, level=level)


@dataclass(frozen=True)
class AugmentedWindows:
    """Input of the network: unchanged clean windows, and degraded windows with random augmentation."""

    windows: WindowSet
    augmentation: Augmentation
    offset: float
    """Offset of the input; see `headnod_train.pretrained.pruning`."""

    rooms: MeasuredRooms = field(default_factory=lambda: MeasuredRooms(()))
    """Measured rooms for a share of the simulated ones."""

    def chosen(
        self, rows: NDArray[np.intp], degraded: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Input for some windows, (rows, 187, 96)."""
        x = np.empty((rows.size, *self.windows.clean16.shape[1:]), np.float32)
        x[~degraded] = network_input(self.windows.clean16[rows[~degraded]], self.offset)
        changed = np.flatnonzero(degraded)
        if changed.size:
            x[changed] = self.augmented(rows[changed], rng)
        return x

    def augmented(self, rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float32]:
        """Input for degraded windows, (rows, 187, 96)."""
        log_mel = self.windows.degraded16[rows].astype(np.float32)
        simulated = np.flatnonzero(rng.random(rows.size) < self.augmentation.rooms)
        if simulated.size:
            log_mel[simulated] = in_simulated_rooms(self.windows.clean16[rows[simulated]], self.rooms, rng)
        return augmented(log_mel, self.offset, self.augmentation, rng)

    def music(self, count: int) -> NDArray[np.float32]:
        """Music spread evenly over the windows, clean and degraded alternating, without augmentation, (n, 187, 96)."""
        rows = self.music_rows(count)
        log_mel = self.windows.clean16[rows].astype(np.float32)
        log_mel[1::2] = self.windows.degraded16[rows[1::2]]
        return network_input(log_mel, self.offset)

    def music_rows(self, count: int) -> NDArray[np.intp]:
        """The windows that `music` shows."""
        rows = np.flatnonzero(np.isin(self.windows.kind, MUSIC))
        return rows[np.unique(np.linspace(0, rows.size - 1, count).astype(np.intp))]


def measured_rooms(responses: Sequence[Audio]) -> MeasuredRooms:
    """Rooms in mel power.

    Args:
        responses: Impulse responses at 16 kHz.
    """
    return MeasuredRooms(tuple(gains_of(response, _BANDS)[: GENRE.frames] for response in responses))


def in_simulated_rooms(
    log_mel: NDArray[np.floating], measured: MeasuredRooms, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Clean windows, each in a room and through a loudspeaker drawn at random, in decibels, (n, frames, bands)."""
    degraded = np.array(log_mel, np.float32)
    recorded = (rng.random(len(degraded)) < _MEASURED) & bool(measured.rooms)
    for rows, room in ((recorded, measured), (~recorded, _ROOM)):
        if rows.any():
            degraded[rows] = room.apply(degraded[rows], _BANDS, rng)
    return _LOUDSPEAKER.apply(degraded, _BANDS, rng)


def compressed(power: NDArray[np.float32], offset: float, *, level: float | NDArray[np.float32]) -> NDArray[np.float32]:
    """The tagger's compression of mel power whose mean is set to a level."""
    mean = np.maximum(power.mean(axis=(1, 2), keepdims=True), np.float32(_LEAST))
    gain = np.float32(10.0) ** (np.float32(0.1) * np.asarray(level, np.float32) + np.float32(4.0)) / mean
    return np.log10(np.float32(1.0) + power * gain) - np.float32(offset)


def _equaliser(rows: int, bands: int, augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.float32]:
    """Decibels at each band: a tilt and a few slow waves."""
    place = np.linspace(-1.0, 1.0, bands)
    tilt = rng.normal(0.0, augmentation.tilt, (rows, 1)) * place
    waves = np.cos(np.pi * np.arange(2, 6)[:, None] * (place + 1.0) / 2.0)
    bumps = rng.normal(0.0, augmentation.bumps / 2.0, (rows, len(waves))) @ waves
    return (tilt + bumps).astype(np.float32)


def _noise(power: NDArray[np.float32], augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.float32]:
    """Mel power of steady noise that falls by 0 to 6 dB an octave, at a random level under the music."""
    rows, frames, bands = power.shape
    # Slaney bands are even in frequency up to 1 kHz and even in octaves above.
    octaves = np.maximum(np.linspace(-3.0, 3.0, bands), -2.0)
    slope = rng.uniform(0.0, 6.0, (rows, 1)) / 10.0
    shape = np.power(10.0, -slope * octaves).astype(np.float32)[:, None]
    # A mel band averages several bins of chi-squared power.
    grain = rng.gamma(3.0, 1.0 / 3.0, (rows, frames, bands)).astype(np.float32)
    noise = shape * grain
    ratio = 10.0 ** (-rng.uniform(*augmentation.snr, (rows, 1, 1)) / 10.0)
    wanted = power.mean(axis=(1, 2), keepdims=True) * ratio.astype(np.float32)
    return noise * (wanted / noise.mean(axis=(1, 2), keepdims=True))
