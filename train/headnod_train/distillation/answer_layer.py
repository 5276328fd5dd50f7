"""The last layer of a distilled network, fitted to labels.

A small network imitates the errors of its teacher. Its embedding holds more than its answers: a logistic regression
from there to the labels of the training tracks is more often right, clean and degraded.

The strength of regularisation was chosen on held-out training tracks, by artist. A share of the teacher's predictions
in the targets cannot be judged there, because the teacher learned from the labels of these tracks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from headnod.features.frontend import Features
from headnod_train.backend import keras
from headnod_train.distillation.student import TrainingSet

INVERSE_STRENGTH = 33.0
"""C of scikit-learn, for weights of windows that sum to 2.5."""

CLEAN, DEGRADED, NOT_MUSIC = 1.0, 0.5, 0.5
"""Weight of all clean labelled windows together, of all degraded ones, and of all clean or degraded ones of speech and
noise. With the last, speech and noise of the training get no more genre than from the layer before."""

_AT_ONCE = 256


def fit_answers_to_labels(
    network: keras.Model,
    archived: TrainingSet,
    prepared: TrainingSet,
    spread: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Fit the layer `logits` to genres of an archive and to speech and noise of prepared windows, and set it.

    Args:
        network: Outputs answers, tags and the embedding, which the layer reads.
        archived: Windows of labelled tracks; at least half of each target is the label.
        prepared: Windows whose speech and noise are examples of "not music", the last answer.
        spread: Mean and deviation of the features, each (n_mfcc,).
    """
    other = np.flatnonzero(np.isin(prepared.kind, ("speech", "noise")))
    groups = (
        (archived.clean, CLEAN),
        (archived.degraded, DEGRADED),
        (prepared.clean[other], NOT_MUSIC),
        (prepared.degraded[other], NOT_MUSIC),
    )
    genres, last = archived.answers.argmax(axis=1), archived.answers.shape[1] - 1
    targets = np.concatenate([genres, genres, np.full(2 * len(other), last)])
    parts = [_embedding(network, windows, spread) for windows, _ in groups]
    weights = np.concatenate([np.full(len(windows), weight / max(len(windows), 1)) for windows, weight in groups])
    mean, deviation = parts[0].mean(axis=0), parts[0].std(axis=0) + np.float32(1e-3)
    found = LogisticRegression(C=INVERSE_STRENGTH, max_iter=500)
    found.fit((np.concatenate(parts) - mean) / deviation, targets, weights)
    layer = network.get_layer("logits")
    kernel, bias = layer.get_weights()
    kernel[:, found.classes_] = found.coef_.T / deviation[:, None]
    bias[found.classes_] = found.intercept_ - mean @ kernel[:, found.classes_]
    layer.set_weights([kernel, bias])


def _embedding(
    network: keras.Model, windows: NDArray[np.float16], spread: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> Features:
    parts = [
        np.asarray(network((windows[first : first + _AT_ONCE].astype(np.float32) - spread[0]) / spread[1])[2])
        for first in range(0, len(windows), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, network.get_layer("logits").input.shape[1]), np.float32)
