"""Music that nothing is learned from: how a training is judged while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Features, FrontEnd
from headnod.inference.prediction import softmax
from headnod_train.backend import keras
from headnod_train.dataset.archive import Archive, window_features
from headnod_train.evaluation.metrics import by_track

_PARTS = 16
"""Batches that the watched windows are judged in; fewer where there are fewer windows."""


@dataclass(frozen=True)
class HeldOut:
    """Windows that nothing is learned from."""

    features: Features
    """Standardised MFCCs, shape (windows, frames, n_mfcc)."""

    targets: NDArray[np.intp]
    """What each window is, shape (windows,)."""

    tracks: NDArray[np.intp]
    """The track of each window, shape (windows,)."""

    labels: int
    """Genres; an answer behind them is none."""

    @classmethod
    def of(
        cls, archive: Archive, labels: tuple[str, ...], front_end: FrontEnd, spread: tuple[np.ndarray, np.ndarray]
    ) -> HeldOut:
        """Every window that a listener would hear of an archive."""
        features, tracks = window_features(archive, front_end)
        return cls((features - spread[0]) / spread[1], archive.targets(labels)[tracks], tracks, len(labels))

    def evaluate(self, network: keras.Model) -> dict[str, float]:
        """Share of windows and of tracks that a network names rightly, and its mean cross-entropy."""
        count = min(_PARTS, len(self.features))
        parts = [np.asarray(network(part)) for part in np.array_split(self.features, count)]
        logits = np.concatenate(parts)[:, : self.labels]
        scores = softmax(logits)
        played = self.targets[np.unique(self.tracks, return_index=True)[1]]
        return {
            "windows": float((scores.argmax(axis=1) == self.targets).mean()),
            "tracks": float((by_track(scores, self.tracks).argmax(axis=1) == played).mean()),
            "loss_watched": float(-np.log(scores[np.arange(len(scores)), self.targets] + 1e-9).mean()),
        }
