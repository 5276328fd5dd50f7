"""Fits the new last layer: regularised multinomial regression on features of labelled windows.

Every figure is nested: the windows that it is measured on had no part in the fit nor in the choice of
its regularisation, and neither had any other track of their artists.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from headnod.inference.prediction import softmax
from headnod_train.evaluation.metrics import negative_log_likelihood
from headnod_train.teaching.labelled_music import Features
from headnod_train.teaching.last_layer import Layer

INVERSE_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Inverse strengths of regularisation to choose from (C of scikit-learn, with weights that sum to the tracks)."""
_OUTER, _INNER = 5, 3
_SEEDS = range(20)
_ABSENT = -30.0
"""Logit of a label without a training track in a fold: it is never the answer there."""


@dataclass(frozen=True)
class FittedLayer:
    """A layer for the labels, and what it gives for tracks it was not fitted to."""

    layer: Layer
    inverse_strength: float
    held_out: NDArray[np.float64]
    """Logits from layers that were fitted without the window's group, (windows, labels)."""


def fit(music: Features, labels: int) -> FittedLayer:
    """Fit the labels' rows, with nested cross-validation by group.

    Args:
        music: Features of windows.
        labels: Number of labels.
    """
    # The matrices are small: more threads would spend their time waiting for each other.
    with threadpool_limits(1):
        layer, strength = _chosen(music, labels)
        held_out = np.zeros((len(music.labels), labels))
        for learned, left_out in folds(music, _OUTER):
            fold, _ = _chosen(_rows(music, learned), labels)
            held_out[left_out] = fold.logits(music.values[left_out])
    return FittedLayer(layer, strength, held_out)


def folds(music: Features, count: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Windows to learn from and windows to leave out, by group, so that few labels are left out whole."""
    best: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    fewest = None
    groups, sizes = music.groups.copy(), []
    for label in np.unique(music.labels):
        there = music.labels == label
        if len(np.unique(groups[there])) == 1:
            # Within the tracks that a fold learns from, one artist of a label may be left.
            groups[there] = music.groups.max() + 1 + music.tracks[there]
        sizes.append(len(np.unique(groups[there])))
    count = max(2, min(count, *sizes))
    for seed in _SEEDS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
            parts = list(splitter.split(music.values, music.labels, groups))
        missing = sum(
            len(set(music.labels[left_out]) - set(music.labels[learned])) + (not len(left_out))
            for learned, left_out in parts
        )
        if fewest is None or missing < fewest:
            best, fewest = parts, missing
        if not missing:
            break
    return [(learned, left_out) for learned, left_out in best if len(left_out) and len(learned)]


def _chosen(music: Features, labels: int) -> tuple[Layer, float]:
    """A layer with the strength that gives the least negative log-likelihood on groups that were left out."""
    lost = np.zeros(len(INVERSE_STRENGTHS))
    for learned, left_out in folds(music, _INNER):
        held = _rows(music, left_out)
        weights = _weights(held)
        for place, layer in enumerate(_path(_rows(music, learned), labels, INVERSE_STRENGTHS)):
            scores = softmax(layer.logits(held.values).astype(np.float32))
            for label in np.unique(held.labels):
                # Mean over labels, so that a label with many tracks does not decide alone.
                there = held.labels == label
                lost[place] += negative_log_likelihood(scores[there], held.labels[there]) * weights[there].sum()
    strength = INVERSE_STRENGTHS[int(lost.argmin())]
    (layer,) = _path(music, labels, (strength,))
    return layer, strength


def _path(music: Features, labels: int, strengths: Sequence[float]) -> list[Layer]:
    """Layers for strengths in ascending order, each fit starting from the one before."""
    present = np.unique(music.labels)
    if len(present) == 1:
        bias = np.full(labels, _ABSENT)
        bias[present] = 0.0
        return [Layer(np.zeros((labels, music.values.shape[1])), bias)] * len(strengths)
    weights = _weights(music)
    mean = np.average(music.values, axis=0, weights=weights)
    deviation = np.sqrt(np.average((music.values - mean) ** 2, axis=0, weights=weights))
    # A feature that never changes says nothing.
    deviation = np.where(deviation < 1e-6, np.inf, deviation)  # noqa: PLR2004
    standard = (music.values - mean) / deviation
    classifier = LogisticRegression(max_iter=300, tol=1e-3, warm_start=True)
    layers = []
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.set_params(C=strength).fit(standard, music.labels, weights)
        coefficients, bias = classifier.coef_, classifier.intercept_
        if len(classifier.classes_) == 2:  # noqa: PLR2004 - then scikit-learn gives the second row alone
            coefficients, bias = np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-bias, bias]) / 2
        kernel = coefficients / deviation
        whole = Layer(np.zeros((labels, kernel.shape[1])), np.full(labels, _ABSENT))
        whole.kernel[classifier.classes_] = kernel
        whole.bias[classifier.classes_] = bias - kernel @ mean
        layers.append(whole)
    return layers


def _weights(music: Features) -> NDArray[np.float64]:
    """Each label weighs the same, and within a label each track; in sum the number of tracks, (windows,)."""
    windows_of_track = np.bincount(music.tracks)[music.tracks]
    weights = 1.0 / windows_of_track
    count = len(np.unique(music.tracks))
    present = np.unique(music.labels)
    for label in present:
        there = music.labels == label
        weights[there] *= count / len(present) / weights[there].sum()
    return np.asarray(weights)


def _rows(music: Features, rows: NDArray[np.intp]) -> Features:
    return Features(music.values[rows], music.labels[rows], music.tracks[rows], music.groups[rows])


def common_shift(
    features: NDArray[np.floating], wanted: NDArray[np.floating], *, ridge: float = 1.0
) -> tuple[NDArray[np.float64], float]:
    """A linear function of the features that is close to `wanted`, by ridge regression.

    Args:
        features: (n, features).
        wanted: (n,).
        ridge: Weight of the squared coefficients of standardised features.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation < 1e-6, np.inf, deviation)  # noqa: PLR2004
    standard, offset = (features - mean) / deviation, float(wanted.mean())
    gram = standard.T @ standard + ridge * np.eye(standard.shape[1])
    weights = np.linalg.solve(gram, standard.T @ (wanted - offset)) / deviation
    return weights, offset - float(mean @ weights)
