"""Answers fitted to labels: the last layer of a small network, and the answers of the coarse branch.

A small network imitates the errors of its teacher. Its embedding holds more than its answers: a logistic regression
from there to the labels of the training tracks is more often right, clean and degraded.

Strengths of regularisation were chosen on held-out training tracks, by artist, for a small network, and on valid clips
for the branch. A share of the teacher's predictions in the targets cannot be judged on training tracks, because the
teacher learned from the labels of these tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from headnod.features.frontend import Features
from headnod_train.backend import keras
from headnod_train.distillation.student import TrainingSet

INVERSE_STRENGTH = 33.0
"""C of scikit-learn for a small network, for weights of windows that sum to 2.5."""

CLEAN, DEGRADED, NOT_MUSIC = 1.0, 0.5, 0.5
"""Weight of all clean labelled windows together, of all degraded ones, and of all clean or degraded ones of speech and
noise. With the last, speech and noise of the training get no more genre than from the layer before."""

_AT_ONCE = 256


class LinearAnswers(NamedTuple):
    """Logits of answers as a linear function of an embedding."""

    kernel: NDArray[np.float64]
    """Shape (size, answers)."""
    bias: NDArray[np.float64]
    """Shape (answers,)."""
    answers: NDArray[np.intp]
    """Genres by their number, and the number of genres for "not music"; without answers that have no windows."""


def fit_labels(
    embed: Callable[[NDArray[np.float16]], Features],
    archived: TrainingSet,
    other: tuple[NDArray[np.float16], NDArray[np.float16]],
    *,
    inverse_strength: float = INVERSE_STRENGTH,
) -> LinearAnswers:
    """Fit genres of an archive, and speech and noise as "not music", the last answer, by logistic regression.

    Args:
        embed: Computes the embedding, (n, size), of MFCCs, (n, frames, n_mfcc).
        archived: Windows of labelled tracks; at least half of each target is the label.
        other: Windows of speech and noise, clean and degraded, each (n, frames, n_mfcc).
        inverse_strength: See `INVERSE_STRENGTH`.
    """
    groups = ((archived.clean, CLEAN), (archived.degraded, DEGRADED), *((windows, NOT_MUSIC) for windows in other))
    genres, last = archived.answers.argmax(axis=1), archived.answers.shape[1] - 1
    targets = np.concatenate([genres, genres, np.full(sum(map(len, other)), last)])
    parts = [embed(windows) for windows, _ in groups]
    weights = np.concatenate([np.full(len(windows), weight / max(len(windows), 1)) for windows, weight in groups])
    mean, deviation = parts[0].mean(axis=0), parts[0].std(axis=0) + np.float32(1e-3)
    found = LogisticRegression(C=inverse_strength, max_iter=500)
    found.fit((np.concatenate(parts) - mean) / deviation, targets, weights)
    kernel, bias = found.coef_.T / deviation[:, None], found.intercept_
    if len(found.classes_) == 2:  # noqa: PLR2004 - the log odds of the second
        kernel, bias = kernel * (-0.5, 0.5), bias * (-0.5, 0.5)
    return LinearAnswers(kernel, bias - mean @ kernel, found.classes_)


def fit_answers_to_labels(
    network: keras.Model,
    archived: TrainingSet,
    prepared: TrainingSet,
    spread: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Fit the layer `logits` by `fit_labels`, and set it.

    Args:
        network: Outputs answers, tags and the embedding, which the layer reads.
        archived: Windows of labelled tracks; at least half of each target is the label.
        prepared: Windows whose speech and noise are examples of "not music".
        spread: Mean and deviation of the features, each (n_mfcc,).
    """
    other = np.flatnonzero(np.isin(prepared.kind, ("speech", "noise")))
    found = fit_labels(
        lambda windows: _embedding(network, windows, spread),
        archived,
        (prepared.clean[other], prepared.degraded[other]),
    )
    layer = network.get_layer("logits")
    kernel, bias = layer.get_weights()
    kernel[:, found.answers], bias[found.answers] = found.kernel, found.bias
    layer.set_weights([kernel, bias])


def _embedding(
    network: keras.Model, windows: NDArray[np.float16], spread: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> Features:
    parts = [
        np.asarray(network((windows[first : first + _AT_ONCE].astype(np.float32) - spread[0]) / spread[1])[2])
        for first in range(0, len(windows), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, network.get_layer("logits").input.shape[1]), np.float32)
