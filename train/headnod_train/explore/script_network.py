"""The network of the well-known GTZAN listener script, retrained on a split that does not leak.

Five blocks of 3x3 valid convolution (8, 16, 32, 64, 128 channels), batch norm over the mel axis, ReLU and 2x2
max-pooling; flatten, dropout, dense. The script reads 130 frames 512 samples apart; an archive has a third of them,
and the others are interpolated linearly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import FrontEnd, LogMel
from headnod.inference.manifest import softmax
from headnod_train.backend import keras
from headnod_train.dataset.archive import Archive, window_starts

layers = keras.layers

CHANNELS = (8, 16, 32, 64, 128)
FRAMES, HOP = 130, 512
"""Frames of 3 s in the script, and samples from one to the next."""
PARAMETERS = 104_294
"""Parameters of the network for ten genres and 128 mel bands."""
RANGE_DB = 80.0
"""Range under the loudest cell, as in librosa's `power_to_db`."""
_BATCH, _RATE, _DROPOUT = 32, 5e-4, 0.3


def build(labels: int, n_mels: int = 128) -> keras.Model:
    """The network, untrained: (mels, frames, 1) in, logits out."""
    image = keras.Input((n_mels, FRAMES, 1))
    x = image
    for channels in CHANNELS:
        x = layers.Conv2D(channels, 3)(x)
        x = layers.BatchNormalization(axis=1)(x)
        x = layers.MaxPooling2D(2)(layers.ReLU()(x))
    x = layers.Dropout(_DROPOUT)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(labels)(x), name="script")


def images(windows: LogMel, front_end: FrontEnd) -> NDArray[np.float32]:
    """Input of the script's network.

    Args:
        windows: Decibels, shape (windows, front_end.frames, mels).
        front_end: Front end of the windows.

    Returns:
        0 for `RANGE_DB` under the loudest cell of a window, 1 for that cell,
        shape (windows, mels, 130, 1).
    """
    given = np.arange(windows.shape[1]) * front_end.hop
    wanted = np.minimum(np.arange(FRAMES) * HOP, given[-1])
    between = np.stack([np.interp(wanted, given, line) for line in np.eye(len(given))]).astype(np.float32)
    drawn = np.einsum("wfm,ft->wmt", windows, between, optimize=True)
    loudest = drawn.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.clip(1.0 + (drawn - loudest) / RANGE_DB, 0.0, 1.0)[..., None], np.float32)


class Windows(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of the windows that a listener would classify of each track, in a new order each epoch."""

    def __init__(self, archive: Archive, targets: NDArray[np.intp], front_end: FrontEnd, *, seed: int) -> None:
        """Use every window of an archive; `targets` has the genre of each track."""
        super().__init__()
        self._archive, self._targets, self._front_end = archive, targets, front_end
        places = [
            (track, start)
            for track in range(len(archive))
            for start in window_starts(int(archive.frames[track]), front_end)
        ]
        self._places = np.array(places, np.intp)
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        """Steps in an epoch."""
        return (len(self._places) + _BATCH - 1) // _BATCH

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self._rng.shuffle(self._places)

    def __getitem__(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """One batch of images and their genres."""
        places = self._places[step * _BATCH : (step + 1) * _BATCH]
        length = self._front_end.frames
        windows = np.stack([self._archive.log_mel(track)[start : start + length] for track, start in places])
        return images(windows, self._front_end), self._targets[places[:, 0]]


def train(
    archive: Archive,
    targets: NDArray[np.intp],
    front_end: FrontEnd,
    *,
    labels: int,
    epochs: int,
    seed: int,
    held_out: tuple[Archive, NDArray[np.intp]] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[keras.Model, list[float]]:
    """Train the network on every window of an archive.

    Returns:
        The network after the last epoch, and the accuracy on windows of `held_out` after each epoch.
    """
    keras.utils.set_random_seed(seed)
    network = build(labels, archive.levels.shape[2])
    network.compile(
        optimizer=keras.optimizers.Adam(_RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    shown = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: advance())
    measured = Windows(*held_out, front_end, seed=seed) if held_out else None
    history = network.fit(
        Windows(archive, targets, front_end, seed=seed),
        epochs=epochs, validation_data=measured, callbacks=[shown], verbose=0,
    ).history  # fmt: skip
    return network, [float(each) for each in history.get("val_accuracy", ())]


def best_epochs(accuracies: Sequence[float]) -> int:
    """Number of epochs with the highest accuracy, averaged over three epochs because single ones vary by points."""
    padded = np.pad(np.asarray(accuracies, np.float64), 1, mode="edge")
    return int(np.convolve(padded, np.ones(3) / 3, "valid").argmax()) + 1


def probabilities(network: keras.Model, archive: Archive, front_end: FrontEnd) -> NDArray[np.float32]:
    """Probabilities for each window of each track, in order, shape (windows, labels)."""
    logits = [
        np.asarray(network(images(archive.windows(track, front_end), front_end), training=False))
        for track in range(len(archive))
    ]
    return softmax(np.concatenate(logits).astype(np.float32))
