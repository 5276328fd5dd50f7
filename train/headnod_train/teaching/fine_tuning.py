"""Fine-tuning: a dense layer below the last one is trained with it, for those with hundreds of songs.

The network stays up to its pooling. A copy of the dense layer that gives the embedding starts from the shipped weights,
the last layer from its regression; both are trained by Adam with a penalty on their change. The number of epochs is
chosen on artists that were left out (early stopping), and may be zero. Everything is nested as in
`headnod.teaching.fitting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.escaping import printable
from headnod.inference.manifest import softmax
from headnod.teaching.fitting import Features, FittedLayer, balanced, folds, layer_of_strength
from headnod.teaching.last_layer import LastLayer, Layer, TeachError
from headnod_train.evaluation.metrics import Share, share_right

LEAST_TRACKS = 100
"""Tracks that are needed: the dense layer has 84,600 weights, and artists are left out to choose the epochs."""
EPOCHS = 16
_TEMPERATURES = (1.0, 1.25, 1.5, 2.0, 3.0)
"""The temperature is fitted afterwards, so epochs are compared at their best one."""
_INNER = 3
_BATCH = 64
_RATE = 1e-3
"""Adam's step, in units of the standardised inputs."""
_PENALTY = 10.0
"""Of the squared change of the dense layer's standardised weights, relative to the loss of one track."""
_DECAYS = (0.9, 0.999)
"""Of the moving averages of gradients and of their squares."""
_LEAST_DEVIATION, _LEAST = 0.01, 1e-6


@dataclass(frozen=True)
class Network:
    """The layers above the pooling."""

    dense: Layer
    last: Layer
    bounds: tuple[float, float]
    """Of the dense layer's activation."""

    def features(self, pooled: NDArray[np.floating], shipped: NDArray[np.floating]) -> NDArray[np.float32]:
        """Inputs of the last layer, (n, features).

        Args:
            pooled: Inputs of the dense layer, (n, inputs).
            shipped: Inputs of the shipped last layer, (n, features): what follows the embedding is kept.
        """
        tuned = np.clip(self.dense.logits(pooled), *self.bounds)
        return np.concatenate([tuned, shipped[:, tuned.shape[1] :]], axis=1).astype(np.float32)

    def logits(self, pooled: NDArray[np.floating], shipped: NDArray[np.floating]) -> NDArray[np.float64]:
        """Outputs, (n, labels); see `features`."""
        return self.last.logits(self.features(pooled, shipped))


@dataclass(frozen=True)
class FineTuned:
    """Trained layers, and what they give for tracks they were not trained with."""

    network: Network
    epochs: int
    held_out: NDArray[np.float64]
    """Logits from layers that were trained without the window's group, (windows, labels)."""

    gain: Share
    """Share of held-out windows that are right, less that of the last layer alone; its interval is over artists."""


def fine_tune(music: Features, pooled: NDArray[np.float32], last: LastLayer, fitted: FittedLayer) -> FineTuned:
    """Train the dense layer and the last one.

    Args:
        music: Inputs of the shipped last layer.
        pooled: Inputs of the dense layer for the same windows, (windows, inputs).
        last: The shipped layers.
        fitted: The last layer alone, fitted to the same windows.
    """
    labels, bounds = len(fitted.layer.bias), last.bounds
    start = Network(last.dense, fitted.layer, bounds)
    network, epochs = _best_epochs(music, pooled, start, fitted.inverse_strength)
    held_out = np.zeros_like(fitted.held_out)
    for (fit_rows, held_out_rows), strength in zip(folds(music), fitted.fold_strengths, strict=True):
        own = music.rows(fit_rows)
        initial = Network(last.dense, layer_of_strength(own, labels, strength), bounds)
        fold, _ = _best_epochs(own, pooled[fit_rows], initial, strength)
        held_out[held_out_rows] = fold.logits(pooled[held_out_rows], music.values[held_out_rows])
    right = [(logits.argmax(axis=1) == music.labels).astype(np.float64) for logits in (held_out, fitted.held_out)]
    return FineTuned(network, epochs, held_out, share_right(right[0] - right[1], music.groups))


def refuse_few_tracks(source: Path, count: int) -> None:
    """Check that there is enough music.

    Raises:
        TeachError: There is not.
    """
    if count < LEAST_TRACKS:
        message = (
            f"{printable(str(source))}: has {count} tracks and --fine-tune needs {LEAST_TRACKS}: fewer cannot "
            "determine the 84,600 weights of another layer (leave out --fine-tune)"
        )
        raise TeachError(message)


def _best_epochs(music: Features, pooled: NDArray[np.float32], start: Network, strength: float) -> tuple[Network, int]:
    """Layers after the number of epochs that gives the least negative log-likelihood on groups that were left out."""
    losses = np.zeros((EPOCHS + 1, len(_TEMPERATURES)))
    for fit_rows, held_out_rows in folds(music, _INNER):
        own, held = music.rows(fit_rows), music.rows(held_out_rows)
        weights, answers = balanced(held), (np.arange(len(held_out_rows)), held.labels)
        initial = Network(start.dense, layer_of_strength(own, len(start.last.bias), strength), start.bounds)
        trained = _trained(own, pooled[fit_rows], initial, strength)
        for epoch, network in zip(range(EPOCHS + 1), trained, strict=False):
            logits = network.logits(pooled[held_out_rows], held.values).astype(np.float32)
            for place, temperature in enumerate(_TEMPERATURES):
                given = np.maximum(softmax(logits / temperature)[answers], _LEAST)
                losses[epoch, place] -= float(weights @ np.log(given))
    epochs = int(losses.min(axis=1).argmin())
    for _, network in zip(range(epochs + 1), _trained(music, pooled, start, strength), strict=False):
        found = network
    return found, epochs


def _trained(music: Features, pooled: NDArray[np.float32], start: Network, strength: float) -> Iterator[Network]:
    """The start, then the layers after each epoch."""
    yield start
    weights = balanced(music)
    weights, tracks = (weights / weights.mean()).astype(np.float32), weights.sum()
    size, (low, high) = len(start.dense.bias), start.bounds
    # Steps and penalties are those of standardised inputs.
    taken, features = (_deviation(values) for values in (pooled, music.values))
    centre = pooled.mean(axis=0)
    inputs = np.column_stack([(pooled - centre) / taken, np.ones(len(pooled))]).astype(np.float32)
    before = start.dense.logits(pooled).astype(np.float32)
    beside = np.column_stack([music.values[:, size:] / features[size:], np.ones(len(pooled))]).astype(np.float32)
    scale = features[:size].astype(np.float32)
    targets = np.eye(len(start.last.bias), dtype=np.float32)[music.labels]
    dense = np.zeros((size, inputs.shape[1]), np.float32)
    last = np.column_stack([start.last.kernel * features, start.last.bias]).astype(np.float32)
    penalty = np.full(last.shape[1], 1.0 / (strength * tracks), np.float32)
    penalty[-1] = 0.0
    adam, rng = _Adam([dense, last]), np.random.default_rng(0)
    while True:
        for rows in np.array_split(rng.permutation(len(weights)), max(len(weights) // _BATCH, 1)):
            linear = before[rows] + inputs[rows] @ dense.T
            reached = np.concatenate([np.clip(linear, low, high) / scale, beside[rows]], axis=1)
            errors = (softmax(reached @ last.T) - targets[rows]) * (weights[rows, None] / len(rows))
            back = (errors @ (last[:, :size] / scale)) * ((linear > low) & (linear < high))
            adam.step([back.T @ inputs[rows] + _PENALTY / tracks * dense, errors.T @ reached + penalty * last])
        kernel = dense[:, :-1] / taken
        yield Network(
            Layer(start.dense.kernel + kernel, start.dense.bias + dense[:, -1] - kernel @ centre),
            Layer(last[:, :-1] / features, last[:, -1].astype(np.float64)),
            start.bounds,
        )


def _deviation(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviation of each column; columns that hardly change get a lower limit."""
    found = values.std(axis=0, dtype=np.float64)
    return np.maximum(found, max(_LEAST_DEVIATION * float(found.mean()), _LEAST))


class _Adam:
    """Adam (Kingma and Ba, 2015) for arrays that are changed in place."""

    def __init__(self, arrays: list[NDArray[np.float32]]) -> None:
        self._arrays, self._steps = arrays, 0
        self._moments = [(np.zeros_like(array), np.zeros_like(array)) for array in arrays]

    def step(self, gradients: list[NDArray[np.float32]]) -> None:
        """Change the arrays against their gradients."""
        self._steps += 1
        first, second = (1.0 - decay**self._steps for decay in _DECAYS)
        for array, gradient, (mean, square) in zip(self._arrays, gradients, self._moments, strict=True):
            mean[:] += (1.0 - _DECAYS[0]) * (gradient - mean)
            square[:] += (1.0 - _DECAYS[1]) * (gradient**2 - square)
            array[:] -= _RATE * (mean / first) / (np.sqrt(square / second) + _LEAST)
