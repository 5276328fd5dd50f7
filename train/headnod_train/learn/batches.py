"""Training windows in batches: cropped, bent and mixed afresh each epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headnod.frontend import FrontEnd
from headnod_train.archive import Archive, window_starts
from headnod_train.backend import keras
from headnod_train.learn.augment import Augmentation, bend, mix


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Windows cut at random places of random tracks.

    An epoch draws as many windows of each track as an evaluation would hear.
    """

    def __init__(
        self,
        archive: Archive,
        targets: NDArray[np.intp],
        *,
        front_end: FrontEnd,
        spread: tuple[NDArray[np.float32], NDArray[np.float32]],
        augmentation: Augmentation,
        batch: int,
        seed: int,
    ) -> None:
        """Draw from an archive, as a seed says."""
        super().__init__()
        self._archive, self._front_end = archive, front_end
        self._answers = np.eye(int(targets.max()) + 1, dtype=np.float32)[targets]
        self._mean, self._deviation = spread
        self._augmentation, self._batch = augmentation, batch
        self._seed, self.epoch = seed, 0
        each = len(window_starts(archive.levels.shape[1], front_end))
        self._drawn = np.repeat(np.arange(len(archive)), each)
        self.on_epoch_end()

    def __len__(self) -> int:
        """Steps in an epoch."""
        return max(len(self._drawn) // self._batch, 1)

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        np.random.default_rng((self._seed, self.epoch)).shuffle(self._drawn)
        self.epoch += 1

    def __getitem__(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One batch: standardised MFCCs, and probabilities to be learned."""
        rng = np.random.default_rng((self._seed, self.epoch, step))
        rows = self._drawn[step * self._batch : (step + 1) * self._batch]
        length = self._front_end.frames
        starts = rng.integers(self._archive.levels.shape[1] - length + 1, size=len(rows))
        crops = [self._archive.log_mel(row)[start : start + length] for row, start in zip(rows, starts, strict=True)]
        bent = bend(np.stack(crops), self._augmentation, rng)
        features = (self._front_end.cepstra(bent) - self._mean) / self._deviation
        return mix(features, self._answers[rows], self._augmentation, rng)
