"""Batches of prepared windows with their targets: mel power at a fixed level, with augmentation.

Equalisation and noise are random and applied in mel power; rooms, loudspeakers and codecs are part of the prepared
windows. A share of the windows is clean and gets a simulated room instead, because each prepared window has one room.

The first layer and the coarse branch take 93 % of the multiply-adds and are fixed during training. Their outputs for
the clean windows and for a few degraded versions of each are computed once, 24 kB a window in float16, which makes a
step ten times as fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.features.frontend import Audio
from headnod_train.acoustics import Bands, MeasuredRooms, Reverberation, Transducer, gains_of
from headnod_train.backend import tf
from headnod_train.distillation.network import (
    BANDS,
    COARSE_PLACES,
    FRAMES,
    Parameters,
    as_tensors,
    fixed_layers,
)
from headnod_train.distillation.recordings import Kind
from headnod_train.distillation.window_sets import GENRE, WindowSet
from headnod_train.storage import replacing
from headnod_train.training.archive_batches import prefetched

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


def network_input(log_mel: NDArray[np.floating], offset: float) -> NDArray[np.float32]:
    """Input of the network.

    Args:
        log_mel: Decibels of mel power, (n, frames, bands).
        offset: Subtracted from all values; see `headnod_train.distillation.network`.

    Returns:
        log10(1 + 10000 p) minus the offset, (n, frames, bands).
    """
    power = np.power(10.0, np.asarray(log_mel, np.float32) / np.float32(10.0))
    return compressed(power, offset, level=LEVEL)


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
    """Offset of the input; see `headnod_train.distillation.network`."""

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
    """Rooms in mel power."""
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


VERSIONS = 3
"""Degraded versions of each window."""

_AT_ONCE = 64


class FixedOutputs(NamedTuple):
    """Outputs of the layers that training does not change."""

    front: NDArray[np.floating]
    """Of the first layer, (n, 187, 1, channels)."""

    coarse: NDArray[np.floating]
    """Of the coarse branch, (n, 10, 1, channels)."""


@dataclass(frozen=True)
class StoredOutputs:
    """Outputs of the fixed layers in float16, memory-mapped."""

    clean: FixedOutputs

    degraded: Sequence[FixedOutputs]
    """Versions, each as `clean`."""

    def chosen(self, rows: NDArray[np.intp], degraded: NDArray[np.bool_], rng: np.random.Generator) -> FixedOutputs:
        """Outputs for some windows, each degraded one in a random version, in float32."""
        version = rng.integers(len(self.degraded), size=rows.size)
        sources = [
            self.degraded[place] if changed else self.clean for place, changed in zip(version, degraded, strict=True)
        ]
        parts = zip(*([each[row] for each in source] for source, row in zip(sources, rows, strict=True)), strict=True)
        return FixedOutputs(*(np.stack(part).astype(np.float32) for part in parts))


def stored_outputs(
    folder: Path,
    parameters: Parameters,
    inputs: AugmentedWindows,
    *,
    seed: int,
    console: Console,
    versions: int = VERSIONS,
) -> StoredOutputs:
    """Compute the missing outputs of a folder, and map all of them into memory."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in range(versions + 1):
        path = folder / f"{version}.npy"
        if not (path.is_file() and _coarse_file(path).is_file()):
            console.print(f"fixed layers: {'clean windows' if version == 0 else f'degraded version {version}'}")
            _write(path, parameters, inputs, (seed, version))
    clean, *degraded = (
        FixedOutputs(*(np.load(each, mmap_mode="r") for each in (path, _coarse_file(path))))
        for path in (folder / f"{version}.npy" for version in range(versions + 1))
    )
    return StoredOutputs(clean, degraded)


def _coarse_file(path: Path) -> Path:
    """File with the outputs of the coarse branch, beside one with those of the first layer."""
    return path.with_name(f"coarse-{path.name}")


def _write(path: Path, parameters: Parameters, inputs: AugmentedWindows, seed: tuple[int, int]) -> None:
    """Compute one version of all windows; augmentation runs in parallel."""
    constants = as_tensors(parameters)
    graph = tf.function(
        lambda x: fixed_layers(constants, x),
        input_signature=[tf.TensorSpec((None, FRAMES, BANDS), tf.float32)],
    )
    count = len(inputs.windows)
    shapes = (
        (count, FRAMES, 1, parameters["front.scale"].size),
        (count, *COARSE_PLACES[-1], parameters["coarse6.bias"].size),
    )

    def part(start: int) -> NDArray[np.float32]:
        rows = np.arange(start, min(start + _AT_ONCE, count))
        rng = np.random.default_rng((*seed, start))
        return inputs.chosen(rows, np.full(rows.size, seed[1] > 0), rng)

    starts = range(0, count, _AT_ONCE)
    kept = "the versions before it are kept"
    with replacing(path, kept) as front, replacing(_coarse_file(path), kept) as coarse:
        files = [
            np.lib.format.open_memmap(name, "w+", np.float16, shape)
            for name, shape in zip((front, coarse), shapes, strict=True)
        ]
        for start, x in zip(starts, prefetched(part, starts), strict=True):
            for file, output in zip(files, graph(tf.constant(x)), strict=True):
                file[start : start + _AT_ONCE] = output.numpy()
        for file in files:
            file.flush()


@dataclass(frozen=True)
class Distillation:
    """Settings of the training."""

    steps: int = 1_500
    """Batches."""

    batch: int = 48
    """Windows in a batch."""

    rate: float = 5e-4
    """Highest learning rate of Adam, with cosine decay. The loss rises at first; only its final value is meaningful."""

    clean: float = 0.4
    """Share of clean windows, which preserve the accuracy on clean music."""

    clean_weight: float = 1.5
    """Weight of clean windows in the loss; the others have weight 1."""

    shares: dict[Kind, float] = field(
        default_factory=lambda: {"music": 0.45, "gtzan": 0.37, "speech": 0.07, "noise": 0.11}
    )
    """Share of each kind of sound in a batch."""

    tags: float = 5.0
    """Weight of the cross-entropy of tags, a mean over them."""

    embedding: float = 5.0
    """Weight of the squared error of the embedding, over its variance."""

    average: float = 0.998
    """Decay of the moving average of the weights; the average is the result."""

    epoch: int = 500
    """Steps from one progress line to the next."""

    save_every: float = 150.0
    """Seconds between two saves."""

    seed: int = 1


@dataclass(frozen=True)
class Targets:
    """Target outputs for each window."""

    answers: NDArray[np.float32]
    """Probabilities of genres and of "not music", (n, 11)."""

    tags: NDArray[np.float32]
    """Probabilities of tags, (n, 50)."""

    embedding: NDArray[np.float32]
    """Embedding of the clean sound by the network before training, (n, 200)."""

    useful: NDArray[np.bool_]
    """Windows used for training, (n,)."""


class Batch(NamedTuple):
    """Input and targets of a step."""

    front: NDArray[np.floating]
    coarse: NDArray[np.floating]
    answers: NDArray[np.float32]
    tags: NDArray[np.float32]
    embedding: NDArray[np.float32]
    music: NDArray[np.float32]
    weight: NDArray[np.float32]


class Batches:
    """Batches, each determined by the seed and the number of the step."""

    def __init__(self, windows: WindowSet, targets: Targets, settings: Distillation, inputs: StoredOutputs) -> None:
        self._targets, self._settings, self._inputs = targets, settings, inputs
        self._rows = {kind: np.flatnonzero((windows.kind == kind) & targets.useful) for kind in settings.shares}
        self._rows = {kind: rows for kind, rows in self._rows.items() if rows.size}
        self._music = np.isin(windows.kind, MUSIC)

    def steps(self, first: int, count: int) -> Iterator[Batch]:
        """Batches from a step on, made in parallel with the training."""
        return prefetched(self._made, range(first, first + count))

    def _made(self, step: int) -> Batch:
        settings, targets = self._settings, self._targets
        rng = np.random.default_rng((settings.seed, step))
        whole = sum(settings.shares[kind] for kind in self._rows)
        counts = rng.multinomial(settings.batch, [settings.shares[kind] / whole for kind in self._rows])
        rows = np.concatenate([rng.choice(of, count) for of, count in zip(self._rows.values(), counts, strict=True)])
        degraded = rng.random(rows.size) >= settings.clean
        return Batch(
            *self._inputs.chosen(rows, degraded, rng),
            targets.answers[rows],
            targets.tags[rows],
            targets.embedding[rows],
            self._music[rows].astype(np.float32),
            np.where(degraded, 1.0, settings.clean_weight).astype(np.float32),
        )
