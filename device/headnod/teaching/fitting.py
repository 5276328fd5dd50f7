"""Fits a new last layer: regularised multinomial regression on features of labelled windows.

Every figure is nested: the windows that it is measured on had no part in the fit nor in the choice of
its regularisation, and neither had any other window of their group. Needs numpy only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.inference.manifest import softmax
from headnod.teaching.last_layer import Layer

INVERSE_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Inverse strengths of regularisation to choose from: the factor of the loss, with weights that sum to the tracks."""

_OUTER, _INNER = 5, 3
_SEEDS = range(20)
_ABSENT = -30.0
"""Logit of a label without a training track in a fold: it is never the answer there."""
_LEAST_DEVIATION = 0.01
"""Lower limit of a feature's standard deviation, as a part of the mean over the features.

A feature that hardly changes would get a weight that leaves no int8 levels to the others of its row.
"""
_LEAST = 1e-6
"""Lower limit of probabilities before the logarithm."""
_ITERATIONS, _TOLERANCE, _MEMORY = 300, 1e-4, 10
"""Of L-BFGS: most iterations, the largest gradient at which it ends, and remembered steps."""


@dataclass(frozen=True)
class Features:
    """Features of the windows of all tracks."""

    values: NDArray[np.float32]
    """The inputs of the last layer, (windows, features)."""

    labels: NDArray[np.intp]
    """Index of the label of each window, (windows,)."""

    tracks: NDArray[np.intp]
    """Index of the track of each window, (windows,)."""

    groups: NDArray[np.intp]
    """Windows of one artist, or of one track where the artist is unknown, share a number, (windows,)."""

    weights: NDArray[np.float64] | None = None
    """Weight of each window, (windows,); None gives each label the same weight, and each track of a label."""

    def rows(self, rows: NDArray[np.intp]) -> Features:
        """Some of the windows."""
        weights = None if self.weights is None else self.weights[rows]
        return Features(self.values[rows], self.labels[rows], self.tracks[rows], self.groups[rows], weights)


@dataclass(frozen=True)
class FittedLayer:
    """A layer for the labels, and what it gives for tracks it was not fitted to."""

    layer: Layer
    inverse_strength: float
    held_out: NDArray[np.float64]
    """Logits from layers that were fitted without the window's group, (windows, labels)."""

    fold_strengths: tuple[float, ...] = ()
    """Inverse strengths of these layers, in the order of `folds`."""


def fit(
    music: Features,
    labels: int,
    *,
    prior: Layer | None = None,
    fixed: int = 0,
    background: Features | None = None,
    strengths: Sequence[float] = INVERSE_STRENGTHS,
    outer: int = _OUTER,
) -> FittedLayer:
    """Fit the labels' rows, with nested cross-validation by group.

    Args:
        music: Features of windows.
        labels: Number of labels.
        prior: A layer to stay close to, with an output for each label; None is a layer of zeros with free biases.
        fixed: Number of the prior's first rows that stay as they are; then the biases of the others are free.
        background: Windows of other labels that are added to the music: a half to each fit, the other half to the
            choice of its strength.
        strengths: Inverse strengths of regularisation to choose from, ascending.
        outer: Number of folds for the held-out logits.
    """
    settings = _FitSettings(labels, prior, fixed, background, strengths)
    layer, strength = _with_best_strength(music, settings)
    held_out, fold_strengths = np.zeros((len(music.labels), labels)), []
    for fit_rows, held_out_rows in folds(music, outer):
        fold, fold_strength = _with_best_strength(music.rows(fit_rows), settings)
        held_out[held_out_rows] = fold.logits(music.values[held_out_rows])
        fold_strengths.append(fold_strength)
    return FittedLayer(layer, strength, held_out, tuple(fold_strengths))


def layer_of_strength(music: Features, labels: int, strength: float) -> Layer:
    """A layer for labels, fitted with a given inverse strength of regularisation."""
    (layer,) = _regularisation_path(music, (strength,), _FitSettings(labels, None, 0, None, (strength,)))
    return layer


def folds(music: Features, count: int = _OUTER) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows to fit and rows to hold out, by group, for each fold; few folds hold out all windows of a label."""
    best: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    fewest = None
    groups, sizes = music.groups.copy(), []
    for label in np.unique(music.labels):
        there = music.labels == label
        if len(np.unique(groups[there])) == 1:
            # In an inner fold one artist of a label may be left, who is then divided by tracks.
            groups[there] = music.groups.max() + 1 + music.tracks[there]
        sizes.append(len(np.unique(groups[there])))
    count = max(2, min(count, *sizes))
    for seed in _SEEDS:
        sides = _sides(music.labels, groups, count, np.random.default_rng(seed))
        parts = [(np.flatnonzero(sides != side), np.flatnonzero(sides == side)) for side in range(count)]
        missing = sum(
            len(set(music.labels[held_out_rows]) - set(music.labels[fit_rows])) + (not len(held_out_rows))
            for fit_rows, held_out_rows in parts
        )
        if fewest is None or missing < fewest:
            best, fewest = parts, missing
        if not missing:
            break
    return [(fit_rows, held_out_rows) for fit_rows, held_out_rows in best if len(held_out_rows) and len(fit_rows)]


def _sides(
    labels: NDArray[np.intp], groups: NDArray[np.intp], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """The fold of each window, (windows,): no group is in two folds, and each label is spread evenly over them.

    Groups are placed one after another, those with the least even labels first, each into the fold that gives
    the most even distribution.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    windows = np.zeros((numbers.max() + 1, labels.max() + 1))
    np.add.at(windows, (numbers, labels), 1.0)
    totals = np.maximum(windows.sum(axis=0), 1.0)
    order = rng.permutation(len(windows))
    order = order[np.argsort(-windows[order].std(axis=1), kind="stable")]
    placed, side_of = np.zeros((count, len(totals))), np.zeros(len(windows), np.intp)
    for group in order:
        added = np.eye(count)[:, :, None] * windows[group]
        spread = ((placed + added) / totals).std(axis=1).mean(axis=1)
        even = np.flatnonzero(spread <= spread.min() + 1e-12)
        side = even[placed.sum(axis=1)[even].argmin()]
        placed[side] += windows[group]
        side_of[group] = side
    return side_of[numbers]


@dataclass(frozen=True)
class _FitSettings:
    """The arguments of `fit` that all its fits share."""

    labels: int
    prior: Layer | None
    fixed: int
    background: Features | None
    strengths: Sequence[float]

    def joined(self, music: Features, half: int) -> Features:
        """The music and every second window of the background."""
        if self.background is None:
            return music
        other = self.background.rows(np.arange(half, len(self.background.labels), 2))
        return Features(
            np.concatenate([music.values, other.values]),
            np.concatenate([music.labels, other.labels]),
            np.concatenate([music.tracks, music.tracks.max() + 1 + other.tracks]),
            np.concatenate([music.groups, music.groups.max() + 1 + other.groups]),
            np.concatenate([_weights(music), _weights(other)]),
        )


def _with_best_strength(music: Features, settings: _FitSettings) -> tuple[Layer, float]:
    """A layer with the strength that gives the least negative log-likelihood on groups that were left out."""
    strengths = settings.strengths
    losses = np.zeros(len(strengths))
    for fit_rows, held_out_rows in folds(music, _INNER):
        held = settings.joined(music.rows(held_out_rows), 1)
        weights = _weights(held)
        for place, layer in enumerate(_regularisation_path(music.rows(fit_rows), strengths, settings)):
            scores = softmax(layer.logits(held.values).astype(np.float32))
            log_losses = -np.log(np.maximum(scores[np.arange(len(held.labels)), held.labels], _LEAST))
            for label in np.unique(held.labels):
                # Mean over labels, so that a label with many tracks does not decide alone.
                there = held.labels == label
                losses[place] += float(np.average(log_losses[there], weights=weights[there])) * weights[there].sum()
    strength = strengths[int(losses.argmin())]
    (layer,) = _regularisation_path(music, (strength,), settings)
    return layer, strength


def _regularisation_path(music: Features, strengths: Sequence[float], settings: _FitSettings) -> list[Layer]:
    """Layers for strengths in ascending order, each fit starting from the one before."""
    music, labels, prior, fixed = settings.joined(music, 0), settings.labels, settings.prior, settings.fixed
    present = np.unique(music.labels)
    if len(present) == 1 and prior is None:
        bias = np.full(labels, _ABSENT)
        bias[present] = 0.0
        return [Layer(np.zeros((labels, music.values.shape[1])), bias)] * len(strengths)
    weights = _weights(music)
    mean, deviation = _mean_and_deviation(music.values, weights)
    standardised = (music.values - mean) / deviation
    # A label without a window here keeps the prior's row, or is never the answer.
    rows = present if prior is None else np.arange(labels)
    prior_logits = np.zeros((len(standardised), len(rows))) if prior is None else prior.logits(music.values)
    targets = (music.labels[:, None] == rows).astype(np.float64)
    change, layers = np.zeros((len(rows), standardised.shape[1] + 1)), []
    for strength in strengths:
        free_bias = prior is None or fixed > 0
        change = _regress(
            standardised, targets, strength * weights, prior_logits, change, fixed=fixed, free_bias=free_bias
        )
        kernel = change[:, :-1] / deviation
        bias = change[:, -1] - kernel @ mean
        if prior is None:
            whole = Layer(np.zeros((labels, kernel.shape[1])), np.full(labels, _ABSENT))
            whole.kernel[rows], whole.bias[rows] = kernel, bias
        else:
            whole = Layer(prior.kernel + kernel, prior.bias + bias)
        layers.append(whole)
    return layers


def _regress(
    standardised: NDArray[np.floating],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    prior_logits: NDArray[np.float64],
    start: NDArray[np.float64],
    *,
    fixed: int,
    free_bias: bool,
) -> NDArray[np.float64]:
    """Weights and bias of each output, (outputs, features + 1), by L2-regularised multinomial regression.

    Args:
        standardised: Standardised features, (windows, features).
        targets: 1 for the label of each window, (windows, outputs).
        weights: Of the windows, (windows,).
        prior_logits: Logits that the result is added to, (windows, outputs).
        start: Where the search starts.
        fixed: Number of outputs, from the first, whose result is zero.
        free_bias: Do not regularise the biases.
    """
    shape = start.shape

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        layer = flat.reshape(shape)
        logits = prior_logits + standardised @ layer[:, :-1].T + layer[:, -1]
        logits -= logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        errors = weights[:, None] * (np.exp(logits - log_sums) - targets)
        errors[:, :fixed] = 0.0
        penalty = layer.copy()
        if free_bias:
            penalty[:, -1] = 0.0
        loss = float(-(weights[:, None] * targets * (logits - log_sums)).sum() + 0.5 * (penalty**2).sum())
        gradient = np.concatenate([errors.T @ standardised, errors.sum(axis=0)[:, None]], axis=1) + penalty
        return loss, gradient.ravel()

    return _minimise(objective, start.ravel()).reshape(shape)


def _minimise(
    objective: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The minimum of a smooth convex function, which gives value and gradient.

    Source: L-BFGS with backtracking, Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 3.1.
    """
    point = start
    loss, gradient = objective(point)
    steps: deque[tuple[NDArray[np.float64], NDArray[np.float64]]] = deque(maxlen=_MEMORY)
    for _ in range(_ITERATIONS):
        if np.abs(gradient).max() <= _TOLERANCE:
            break
        direction = _direction(gradient, steps)
        slope = float(direction @ gradient)
        size = 1.0 if steps else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        while True:
            new_loss, new_gradient = objective(point + size * direction)
            if new_loss <= loss + 1e-4 * size * slope:
                break
            size *= 0.5
            if size < 1e-12:  # noqa: PLR2004 - the limit of floats: there is nothing lower
                return point
        step, change = size * direction, new_gradient - gradient
        if float(step @ change) > 0.0:
            steps.append((step, change))
        point, loss, gradient = point + step, new_loss, new_gradient
    return point


def _direction(
    gradient: NDArray[np.float64], steps: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """The step that L-BFGS proposes, from the steps and changes of the gradient before."""
    direction, shares = -gradient, []
    for step, change in reversed(steps):
        share = float(step @ direction) / float(step @ change)
        shares.append(share)
        direction = direction - share * change
    if steps:
        step, change = steps[-1]
        direction = direction * (float(step @ change) / float(change @ change))
    for (step, change), share in zip(steps, reversed(shares), strict=True):
        direction = direction + step * (share - float(change @ direction) / float(step @ change))
    return direction


def _mean_and_deviation(
    values: NDArray[np.floating], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = np.average(values, axis=0, weights=weights)
    deviation = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
    return mean, np.maximum(deviation, max(_LEAST_DEVIATION * float(deviation.mean()), _LEAST))


def _weights(music: Features) -> NDArray[np.float64]:
    """The given weights, or balanced ones."""
    return balanced(music) if music.weights is None else music.weights


def balanced(music: Features) -> NDArray[np.float64]:
    """Weights that are equal for all labels, and for all tracks of a label; in sum the number of tracks, (windows,)."""
    windows_of_track = np.bincount(music.tracks)[music.tracks]
    weights = 1.0 / windows_of_track
    count = len(np.unique(music.tracks))
    present = np.unique(music.labels)
    for label in present:
        there = music.labels == label
        weights[there] *= count / len(present) / weights[there].sum()
    return np.asarray(weights)


def ridge_regression(features: NDArray[np.floating], wanted: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """A linear function of features of shape (n, features) that is close to `wanted`, (n,), by ridge regression.

    The squared coefficients of standardised features have weight 1.
    """
    mean, deviation = _mean_and_deviation(features, np.ones(len(features)))
    standardised, offset = (features - mean) / deviation, float(wanted.mean())
    gram = standardised.T @ standardised + np.eye(standardised.shape[1])
    weights = np.linalg.solve(gram, standardised.T @ (wanted - offset)) / deviation
    return weights, offset - float(mean @ weights)
