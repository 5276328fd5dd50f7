"""A second branch of `genre`: the convolutions of `genre-small` on the same input, averaged over five frames.

The first layer of the tagger looks at 0.1 s across many bands, or at one band for longer, and a room blurs both. The
convolutions of `genre-small` see patches of a coarse spectrogram and were trained on sound in rooms. Mean and maximum
over time of their last layer are further inputs of the layer of the embedding.

The front ends differ: `genre-small` has 38 frames of 77 ms at 22,050 Hz and starts with an inverse DCT. The coarse
frames have 80 ms, and a linear map from the mel bands of `genre` takes the place of the inverse DCT. It is fitted to
the bands of `genre-small` for the same windows.

A filter of the first kernel shape takes 3 million multiply-adds, and some hardly change the tags. Two of these are
removed, which saves more than the branch takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import tf
from headnod_train.distillation.batches import MUSIC, network_input
from headnod_train.distillation.network import (
    BANDS,
    COARSE_BANDS,
    COARSE_FRAMES,
    COARSE_PLACES,
    FRAMES_TOGETHER,
    Array,
    Parameters,
    as_tensors,
    fixed_layers,
    upper_layers,
)
from headnod_train.distillation.window_sets import GENRE, WindowSet
from headnod_train.training.fit import StartingWeights, spread_of

CHANNELS = 32
"""Channels of the last convolution that are kept, those with the largest weights in the logits of `genre-small`."""

_FITTED = 3000
"""Windows from which the linear map is fitted."""
_RIDGE = 3e-4
_BATCH = 64


def branch_from(start: StartingWeights, windows: WindowSet, offset: float) -> Parameters:
    """Weights of the branch.

    Args:
        start: `genre-small`.
        windows: Windows with both front ends, from which the linear map is fitted.
        offset: Offset of the input; see `headnod_train.distillation.network`.

    Returns:
        The parameters `coarse*` of the network.
    """
    rows = np.flatnonzero(np.isin(windows.kind, MUSIC))
    rows = rows[np.unique(np.linspace(0, rows.size - 1, _FITTED).astype(np.intp))]
    given = coarse_frames(network_input(windows.clean16[rows], offset))
    wanted = _bands(start, windows.clean22[rows])[:, :, :COARSE_BANDS]
    at_frames = _at_frames_of(start, given)
    means = np.broadcast_to(at_frames.mean(axis=1, keepdims=True), at_frames.shape)
    kernel, bias = _linear_map(np.concatenate([at_frames, means], axis=2), wanted)
    logits = np.abs(start.logits.kernel).sum(axis=1)
    last = len(start.convolutions)
    size = start.convolutions[-1].bias.size
    # The logits take means first, then maxima.
    kept = np.sort(np.argsort(-(logits[:size] + logits[size:]))[:CHANNELS])
    parameters: Parameters = {
        "coarse0.kernel": kernel[:BANDS],
        "coarse0.mean.kernel": kernel[BANDS:],
        "coarse0.bias": bias,
    }
    for number, layer in enumerate(start.convolutions, 1):
        chosen = kept if number == last else slice(None)
        parameters[f"coarse{number}.kernel"] = np.asarray(layer.kernel[..., chosen], np.float64)
        parameters[f"coarse{number}.bias"] = np.asarray(layer.bias[chosen], np.float64)
    # Bands above 8 kHz are absent from the input.
    parameters[f"coarse{last}.kernel"] = parameters[f"coarse{last}.kernel"][:, : COARSE_PLACES[-2][1]]
    return parameters


def with_branch(parameters: Parameters, branch: Parameters) -> Parameters:
    """The network with a branch that has no influence yet."""
    dense = parameters["dense.kernel"]
    zeros = np.zeros((branch["coarse6.bias"].size, dense.shape[1]))
    maxima, means = np.split(dense, 2)
    return {**parameters, **branch, "dense.kernel": np.concatenate([maxima, zeros, means, zeros])}


def coarse_frames(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over five frames, as the network computes them: (n, 187, 96) to (n, 37, 96)."""
    whole = x[:, : COARSE_FRAMES * FRAMES_TOGETHER]
    return np.asarray(whole.reshape(-1, COARSE_FRAMES, FRAMES_TOGETHER, BANDS).mean(axis=2))


def _bands(start: StartingWeights, log_mel: NDArray[np.floating]) -> Array:
    """Output of the inverse DCT of `genre-small`, (n, 38, 60)."""
    mean, deviation = spread_of(start)
    front = start.manifest.front_end
    features = (front.cepstra(np.asarray(log_mel, np.float32)) - mean) / deviation
    return np.asarray(features @ start.dense.kernel + start.dense.bias, np.float64)


def _at_frames_of(start: StartingWeights, coarse: NDArray[np.float32]) -> Array:
    """Coarse frames interpolated at the times of the frames of `genre-small`, (n, 38, 96)."""
    front = start.manifest.front_end
    seconds = (np.arange(front.frames) * front.hop + front.n_fft / 2) / front.sample_rate
    at = (np.arange(COARSE_FRAMES) * FRAMES_TOGETHER + (FRAMES_TOGETHER - 1) / 2) * GENRE.hop + GENRE.n_fft / 2
    place = np.interp(seconds, at / GENRE.sample_rate, np.arange(COARSE_FRAMES))
    before = np.minimum(place.astype(np.intp), COARSE_FRAMES - 2)
    share = (place - before)[:, None]
    return np.asarray(coarse[:, before] * (1.0 - share) + coarse[:, before + 1] * share, np.float64)


def _linear_map(given: Array, wanted: Array) -> tuple[Array, Array]:
    """Kernel and bias by ridge regression."""
    x = given.reshape(-1, given.shape[-1])
    y = wanted.reshape(-1, wanted.shape[-1])
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    gram = x.T @ x
    kernel = np.linalg.solve(gram + _RIDGE * len(x) * np.eye(len(gram)), x.T @ y)
    return kernel, y_mean - x_mean @ kernel


def without_weakest(parameters: Parameters, windows: NDArray[np.float32], count: int) -> Parameters:
    """Remove the filters of the first kernel shape that a constant can replace best.

    Args:
        parameters: Equalised and standardised, with the branch.
        windows: Inputs from which means and changes are measured, (n, 187, 96).
        count: Filters to remove.
    """
    constants = as_tensors(parameters)
    starts = range(0, len(windows), _BATCH)
    fixed = tf.function(lambda x: fixed_layers(constants, x))
    outputs = zip(*(fixed(tf.constant(windows[start : start + _BATCH])) for start in starts), strict=True)
    front, coarse = (np.concatenate([part.numpy() for part in parts]) for parts in outputs)
    upper = tf.function(lambda maps, patches: upper_layers(constants, maps, patches)["tags"])

    def tags(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [(maps[start : start + _BATCH], coarse[start : start + _BATCH]) for start in starts]
        return np.concatenate([upper(*map(tf.constant, part)).numpy() for part in parts])

    exact = tags(front)
    changes = []
    for filter_ in range(parameters["front0.bias"].size):
        replaced = front.copy()
        replaced[..., filter_] = front[..., filter_].mean()
        changes.append(np.abs(tags(replaced) - exact).mean())
    return _without(parameters, np.argsort(changes)[:count].tolist(), front)


def _without(parameters: Parameters, removed: list[int], front: NDArray[np.float32]) -> Parameters:
    """The network with the means of some filters' outputs, and of their maxima over time, as parts of biases."""
    p = dict(parameters)
    means = front.mean(axis=(0, 1, 2))[removed]
    p["mid1.bias"] = p["mid1.bias"] + np.einsum("tio,i->o", p["mid1.kernel"][:, removed], means)
    p["mid1.kernel"] = np.delete(p["mid1.kernel"], removed, axis=1)
    pooled = {"max": front.max(axis=(1, 2)).mean(axis=0)[removed], "mean": means}
    halves = []
    for (kind, values), rows in zip(pooled.items(), np.split(p["dense.kernel"], 2), strict=True):
        scale, shift = (p[f"{kind}.front.{part}"][removed] for part in ("scale", "shift"))
        p["dense.bias"] = p["dense.bias"] + (values * scale + shift) @ rows[removed]
        halves.append(np.delete(rows, removed, axis=0))
    p["dense.kernel"] = np.concatenate(halves)
    for name in ("front0.kernel", "front0.bias"):
        p[name] = np.delete(p[name], removed, axis=-1)
    for name in ("front", "max.front", "mean.front"):
        for part in ("scale", "shift"):
            p[f"{name}.{part}"] = np.delete(p[f"{name}.{part}"], removed)
    return p
