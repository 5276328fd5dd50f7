"""Batches of training windows: cropped, augmented and mixed anew each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod_train.acoustics.bands import Bands
from headnod_train.dataset.archive import window_starts
from headnod_train.training.augment import LEAD, MelAugmentation, augment, through_rooms
from headnod_train.training.soft_labels import WindowSource

_T = TypeVar("_T")


def prefetched(make: Callable[[int], _T], places: Iterable[int]) -> Iterator[_T]:
    """What `make` returns for each place, in order; the next is made in a thread while the last is used."""
    with ThreadPoolExecutor(1) as ahead:
        coming = None
        for place in places:
            last, coming = coming, ahead.submit(make, place)
            if last is not None:
                yield last.result()
        if coming is not None:
            yield coming.result()


class TrainingBatch(NamedTuple):
    """Windows and their targets."""

    features: Features
    """Standardised MFCCs, shape (n, frames, n_mfcc)."""

    genres: NDArray[np.float32]
    """Probabilities, shape (n, labels)."""

    tags: NDArray[np.float32]
    """Probabilities, shape (n, tags)."""

    tagged: NDArray[np.float32]
    """Weight of the tags: 1 known, 0 unknown, shape (n,)."""


class ArchiveBatches:
    """Windows cut at random places of random tracks.

    An epoch draws as many windows of each track of the first source as an evaluation has; windows of the other
    sources are added. A batch depends only on the seed, its epoch and its step, so an interrupted training continues
    with the same windows.
    """

    def __init__(
        self,
        sources: Sequence[WindowSource],
        *,
        front_end: FrontEnd,
        spread: tuple[NDArray[np.float32], NDArray[np.float32]],
        augmentation: MelAugmentation,
        batch: int,
        seed: int,
        balance: bool = False,
    ) -> None:
        """Draw from sources; each batch has `batch` windows of the first one, with `balance` of each genre alike."""
        self._sources, self._front_end, self._bands = sources, front_end, Bands(front_end)
        self._mean, self._deviation = spread
        self._augmentation, self._batch, self._seed = augmentation, batch, seed
        windows = [len(window_starts(int(frames), front_end)) for frames in sources[0].archive.frames]
        self._rows = np.repeat(np.arange(len(windows)), windows)
        self._genres = sources[0].archive.genres if balance else None

    def __len__(self) -> int:
        """Steps in an epoch."""
        return max(len(self._rows) // self._batch, 1)

    def epoch(self, number: int) -> Iterator[TrainingBatch]:
        """The batches of one epoch; the next is made in a thread while the last is used."""
        rng = np.random.default_rng((self._seed, number))
        rows = rng.permutation(self._rows if self._genres is None else self._balanced(self._genres, rng))
        return prefetched(lambda step: self._made(rows, number, step), range(len(self)))

    def _balanced(self, genres: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.intp]:
        """As many rows as an epoch has, each genre with an equal part: some are there again, or left out."""
        names, kinds = np.unique(genres[self._rows], return_inverse=True)
        counts = np.full(len(names), len(self._rows) // len(names))
        counts[: len(self._rows) % len(names)] += 1
        return np.concatenate(
            [np.resize(rng.permutation(self._rows[kinds == kind]), count) for kind, count in enumerate(counts)]
        )

    def _made(self, shuffled: NDArray[np.intp], number: int, step: int) -> TrainingBatch:
        rng = np.random.default_rng((self._seed, number, step))
        first = shuffled[step * self._batch : (step + 1) * self._batch]
        parts = [self._cut(self._sources[0], first, rng)]
        for source in self._sources[1:]:
            rows = rng.integers(len(source.archive), size=round(self._batch * source.share))
            parts.append(self._cut(source, rows, rng))
        crops, genres, tags, tagged = (np.concatenate(part) for part in zip(*parts, strict=True))
        augmented = augment(through_rooms(crops, self._augmentation, self._bands, rng), self._augmentation, rng)
        features = (self._front_end.cepstra(augmented) - self._mean) / self._deviation
        return mixup_batch(TrainingBatch(features, genres, tags, tagged), self._augmentation.mixup, rng)

    def _cut(
        self, source: WindowSource, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[LogMel, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Windows in decibels with the frames before them, (n, LEAD + frames, mels), and their targets."""
        archive, frames = source.archive, source.archive.frames[rows, None]
        starts = rng.integers(frames[:, 0] + 1 - self._front_end.frames)
        places = np.clip(starts[:, None] + np.arange(-LEAD, self._front_end.frames), 0, frames - 1)
        levels = archive.levels[rows[:, None], places] + np.float32(0.5)
        step = archive.range_db[rows] / np.float32(256.0)
        crops = archive.floor_db[rows][:, None, None] + levels * step[:, None, None]
        return crops, *source.targets.at(rows, starts, self._front_end)


def mixup_batch(batch: TrainingBatch, shape: float, rng: np.random.Generator) -> TrainingBatch:
    """Mixup (Zhang and others, 2018): blend each row with another, with weights of a Beta distribution."""
    if not shape:
        return batch
    weight = rng.beta(shape, shape, len(batch.features)).astype(np.float32)
    weight = np.maximum(weight, 1.0 - weight)
    other = rng.permutation(len(weight))

    def blend(one: NDArray[np.float32]) -> NDArray[np.float32]:
        share = weight.reshape(-1, *[1] * (one.ndim - 1))
        return one * share + one[other] * (1.0 - share)

    return TrainingBatch(*map(blend, batch))
