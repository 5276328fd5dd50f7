"""Pruning: removes the filters of the tagger whose output is constant.

Weight decay has reduced most filters of MSD_musicnn to zero: kernel and batch-norm scale are around 1e-12, so their
output does not depend on the input. They are removed, and their constants are added to the next biases. Batch
normalisation is folded, so only kernels, biases and one scale and shift per channel remain.

A filter with a negative batch-norm scale turns the maximum over bands into a minimum. Its kernel is negated and its
output limited from above, which gives equal results with a maximum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod_train.tagger.wheel import Weights

Array = NDArray[np.float64]
Parameters = dict[str, Array]
"""Arrays of the pruned network by name.

offset                 ()          subtracted from the input log10(1 + 10000 p) of mel power p: padding is zero
front0.. front4.kernel (t, b, n)   over t frames and b bands: 7 x 38, 7 x 67, 128 x 1, 64 x 1, 32 x 1
front0.. front4.bias   (n,)
front0.. front4.cap    (n,)        upper limit of the rectifier, infinite for most
front.scale, .shift    (63,)       of the maxima over bands
mid1.. mid3.kernel     (7, c, n)   over time; the second and third have a residual connection
mid1.. mid3.bias, .cap, .scale, .shift  (n,)
carry.kernel, .shift   (20, 64)    residual connection of the second
keep.scale             (64,)       residual connection of the third; absent if 1
dense.kernel, .bias    (422, 200)  from maxima, then means, over time of all channels to the embedding
dense.cap              (200,)
tags.kernel, .bias     (200, 50)   to logits of tags
"""

FRONT = 5
"""Shapes of filters in the first layer."""

_MIDDLE = 3
_ALIVE = 0.01
"""Kernels below this share of the largest norm of their layer are removed."""
_EPSILON = 1e-3
_LIMIT = 1.25
"""Share of the bias at which the output of a negated filter is limited."""


class _Layer(NamedTuple):
    kernel: Array
    bias: Array
    scale: Array
    shift: Array
    alive: NDArray[np.intp]

    @property
    def dead(self) -> NDArray[np.intp]:
        return np.setdiff1d(np.arange(self.bias.size), self.alive)

    def constants(self) -> Array:
        """Outputs of the constant filters, 0 for the others."""
        still = np.maximum(self.bias, 0.0) * self.scale + self.shift
        still[self.alive] = 0.0
        return still


def prune(weights: Weights) -> Parameters:
    """An equal network without the constant filters.

    Args:
        weights: The checkpoint, from `headnod_train.tagger.wheel`.
    """
    (gain,), (shift,) = _normalisation(weights, 0)
    layers = [_layer(weights, place) for place in range(FRONT + _MIDDLE)]
    parameters: Parameters = {"offset": np.array(-shift / gain)}
    scales, shifts = [], []
    for place, layer in enumerate(layers[:FRONT]):
        scale, moved = layer.scale[layer.alive], layer.shift[layer.alive]
        kernel, bias = layer.kernel[:, :, 0, layer.alive] * gain, layer.bias[layer.alive]
        turned = scale < 0
        # min(c) = limit - max(limit - c); the limit of the rectifier keeps the difference from becoming negative.
        limit = np.where(turned, _LIMIT * np.abs(bias) + 5.0, np.inf)
        parameters[f"front{place}.kernel"] = np.where(turned, -kernel, kernel)
        parameters[f"front{place}.bias"] = np.where(turned, np.where(turned, limit, 0.0) - bias, bias)
        parameters[f"front{place}.cap"] = limit
        scales.append(np.abs(scale))
        shifts.append(np.where(turned, moved + scale * np.where(turned, limit, 0.0), moved))
    parameters |= {"front.scale": np.concatenate(scales), "front.shift": np.concatenate(shifts)}
    return parameters | _middle(layers) | _end(weights, layers)


def _middle(layers: list[_Layer]) -> Parameters:
    sizes = [layer.bias.size for layer in layers[:FRONT]]
    starts = np.cumsum([0, *sizes[:-1]])
    live = np.concatenate([start + layer.alive for start, layer in zip(starts, layers[:FRONT], strict=True)])
    first, second, third = layers[FRONT:]
    still = np.concatenate([layer.constants() for layer in layers[:FRONT]])
    bias = first.bias + np.einsum("tio,i->o", first.kernel[:, :, 0, :], still)
    kept, idle = first.alive, first._replace(bias=bias).constants()
    kernels = (
        first.kernel[:, live, 0][:, :, kept],
        second.kernel[:, kept, 0],
        third.kernel[:, :, 0],
    )
    biases = (bias[kept], second.bias + np.einsum("tio,i->o", second.kernel[:, :, 0, :], idle), third.bias)
    parameters: Parameters = {"carry.kernel": np.eye(second.bias.size)[kept], "carry.shift": idle}
    chosen = (kept, np.arange(second.bias.size), np.arange(third.bias.size))
    each = zip((first, second, third), kernels, biases, chosen, strict=True)
    for number, (layer, kernel, moved, channels) in enumerate(each, 1):
        parameters |= {
            f"mid{number}.kernel": kernel,
            f"mid{number}.bias": moved,
            f"mid{number}.cap": np.full(moved.size, np.inf),
            f"mid{number}.scale": layer.scale[channels],
            f"mid{number}.shift": layer.shift[channels],
        }
    return parameters


def _end(weights: Weights, layers: list[_Layer]) -> Parameters:
    gain, shift = _normalisation(weights, FRONT + _MIDDLE + 1)
    kernel = np.asarray(weights["dense/kernel"], np.float64)
    bias = shift @ kernel + weights["dense/bias"]
    # In the checkpoint, maximum and mean of a channel are adjacent.
    pooled = (gain[:, None] * kernel).reshape(-1, 2, bias.size)
    first = layers[FRONT]
    front = np.concatenate([layer.constants() for layer in layers[:FRONT]])
    moved = first.bias + np.einsum("tio,i->o", first.kernel[:, :, 0, :], front)
    still = np.concatenate([front, first._replace(bias=moved).constants()])
    bias = bias + still @ pooled[: still.size].sum(axis=1)
    alive, start = [], 0
    for place, layer in enumerate(layers):
        alive.append(start + (layer.alive if place <= FRONT else np.arange(layer.bias.size)))
        start += layer.bias.size
    channels = np.concatenate(alive)
    gain, shift = _normalisation(weights, FRONT + _MIDDLE + 2)
    tags = np.asarray(weights["dense_1/kernel"], np.float64)
    return {
        "dense.kernel": np.concatenate([pooled[channels, 0], pooled[channels, 1]]),
        "dense.bias": bias,
        "dense.cap": np.full(bias.size, np.inf),
        "tags.kernel": gain[:, None] * tags,
        "tags.bias": shift @ tags + weights["dense_1/bias"],
    }


def _layer(weights: Weights, place: int) -> _Layer:
    kernel = np.asarray(weights[_name("conv2d", place, "kernel")], np.float64)
    norm = np.sqrt(np.square(kernel).sum(axis=(0, 1, 2)))
    bias = np.asarray(weights[_name("conv2d", place, "bias")], np.float64)
    return _Layer(kernel, bias, *_normalisation(weights, place + 1), np.flatnonzero(norm > _ALIVE * norm.max()))


def _normalisation(weights: Weights, place: int) -> tuple[Array, Array]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        np.asarray(weights[_name("batch_normalization", place, part)], np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


def _name(layer: str, place: int, part: str) -> str:
    return f"{layer}_{place}/{part}" if place else f"{layer}/{part}"
