"""The pruned network in a sliced layout: equal results in a twelfth of the time.

Weight decay has reduced most filters of MSD_musicnn to zero: kernel and batch-norm scale are around 1e-12, so their
output does not depend on the input. They are removed, and their constants are added to the next biases. Batch
normalisation is folded, so only kernels, biases and one scale and shift per channel remain. A filter with a negative
batch-norm scale turns the maximum over bands into a minimum. Its kernel is negated and its output limited from above,
which gives equal results with a maximum.

A convolution with one input channel uses one of eight numbers in a vector register. Therefore neighbouring positions
become channels:

- Filters over 7 frames and many bands: four neighbouring positions in frequency are output channels of one convolution
  over slices of the bands. The last slice overlaps the one before it, which does not change a maximum.
- Filters over time only: a block of frames becomes the input channels, and the outputs for the frames of a block the
  output channels, so the kernel is a Toeplitz matrix.

Every operator is plain TensorFlow Lite of 2023 and older, and its int8 kernels agree on Arm and x86-64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import tf
from headnod_train.distillation.tagger import Weights, array_name

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

    def constants(self) -> Array:
        """Outputs of the constant filters, 0 for the others."""
        still = np.maximum(self.bias, 0.0) * self.scale + self.shift
        still[self.alive] = 0.0
        return still


def prune(weights: Weights) -> Parameters:
    """An equal network without the constant filters."""
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
    kernels = (first.kernel[:, live, 0][:, :, kept], second.kernel[:, kept, 0], third.kernel[:, :, 0])
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
    kernel = np.asarray(weights[array_name("conv2d", place, "kernel")], np.float64)
    norm = np.sqrt(np.square(kernel).sum(axis=(0, 1, 2)))
    bias = np.asarray(weights[array_name("conv2d", place, "bias")], np.float64)
    return _Layer(kernel, bias, *_normalisation(weights, place + 1), np.flatnonzero(norm > _ALIVE * norm.max()))


def _normalisation(weights: Weights, place: int) -> tuple[Array, Array]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        np.asarray(weights[array_name("batch_normalization", place, part)], np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


FRAMES, BANDS = 187, 96
_TOGETHER = 4
"""Positions in frequency per convolution."""
_BLOCKS = (16, 8, 8)
"""Frames of a block, for each kind of filter over time."""
_TIMBRES = 2

Tap = Callable[[str, tf.Tensor], tf.Tensor]
"""Receives the name and the value of each tensor between layers, and returns the value to use."""


def plainly(_: str, tensor: tf.Tensor) -> tf.Tensor:
    """Return a tensor unchanged."""
    return tensor


def forward(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, *, activation: Tap = plainly) -> dict[str, tf.Tensor]:
    """Run the network.

    Args:
        parameters: Named as in `headnod_train.distillation.network`, in float32.
        x: Input minus `offset`, (n, 187, 96).
        activation: Called with every tensor between layers.

    Returns:
        As `upper_layers`.
    """
    front = first_layer(parameters, x, activation=activation)
    return upper_layers(parameters, front, activation=activation)


def first_layer(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, *, activation: Tap = plainly) -> tf.Tensor:
    """Scaled maxima over bands of the first layer, (n, 187, 1, 63); 94 % of the multiply-adds. See `forward`."""
    x = activation("input", x)
    tops = [_timbre(parameters, x, place, activation) for place in range(_TIMBRES)]
    tops += [_rhythm(parameters, x, place, activation) for place in range(_TIMBRES, FRONT)]
    front = tf.concat(tops, axis=2)[:, :, None, :]
    return activation("front", _scaled(parameters, front, "front"))


def upper_layers(
    parameters: Mapping[str, tf.Tensor], front: tf.Tensor, *, activation: Tap = plainly
) -> dict[str, tf.Tensor]:
    """The layers after the first.

    Args:
        parameters: Named as in `headnod_train.distillation.network`, in float32.
        front: Output of `first_layer`, (n, 187, 1, 63).
        activation: Called with every tensor between layers.

    Returns:
        `tags`, logits of tags, (n, 50); `embedding`, the layer before, (n, 200); `summary`, maxima and means over
        time, (n, 422); with a head also `answers`, logits of ten genres and "not music", (n, 11).
    """
    first = _over_time(parameters, front, 1, activation)
    carried = tf.nn.conv2d(first, parameters["carry.kernel"][None, None], 1, "VALID")
    carried = activation("carry", carried + parameters["carry.shift"])
    second = activation("mid2.sum", _over_time(parameters, first, 2, activation) + carried)
    kept = second
    if "keep.scale" in parameters:
        kernel = parameters["keep.scale"][None, None, :, None]
        kept = activation("keep", tf.nn.depthwise_conv2d(second, kernel, (1, 1, 1, 1), "VALID"))
    third = activation("mid3.sum", _over_time(parameters, second, 3, activation) + kept)
    maps = {"front": front, "mid1": first, "mid2": second, "mid3": third}
    pooled = [_pooled(parameters, name, each, "max", activation) for name, each in maps.items()]
    pooled += [_pooled(parameters, name, each, "mean", activation) for name, each in maps.items()]
    summary = tf.concat(pooled, axis=3)
    embedding = activation("embedding", _rectified(parameters, _dense(parameters, summary, "dense"), "dense"))
    outputs = {"summary": summary, "embedding": embedding}
    outputs["tags"] = _logits(parameters, embedding, "tags", activation)
    if "answers.kernel" in parameters:
        hidden = _rectified(parameters, _dense(parameters, embedding, "hidden"), "hidden")
        outputs["answers"] = _logits(parameters, activation("hidden", hidden), "answers", activation)
    return {name: tf.reshape(each, (-1, each.shape[-1])) for name, each in outputs.items()}


def multiply_adds(parameters: Mapping[str, NDArray[np.floating]]) -> int:
    """Multiplications of one inference, from the shapes of the kernels; zeros of Toeplitz kernels are not counted."""
    total = 0
    for name, kernel in parameters.items():
        if not name.endswith(".kernel"):
            continue
        places = {
            **{f"front{place}.kernel": BANDS - kernel.shape[1] + 1 for place in range(_TIMBRES)},
            **{f"front{place}.kernel": BANDS for place in range(_TIMBRES, FRONT)},
        }.get(name, 1)
        frames = FRAMES if name.startswith(("front", "mid", "carry")) else 1
        total += places * frames * kernel.size
    return total


def _timbre(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, place: int, activation: Tap) -> tf.Tensor:
    """Filters over 7 frames and many bands, (n, 187, filters)."""
    kernel = parameters[f"front{place}.kernel"]
    frames, width, filters = kernel.shape
    last = BANDS - width + 1 - _TOGETHER
    starts = [*range(0, last, _TOGETHER), last]
    reach = width + _TOGETHER - 1
    sliced = tf.stack([x[:, :, start : start + reach] for start in starts], axis=2)
    shifted = [tf.pad(kernel, [[0, 0], [place, _TOGETHER - 1 - place], [0, 0]]) for place in range(_TOGETHER)]
    stacked = tf.reshape(tf.stack(shifted, axis=2), (frames, 1, reach, _TOGETHER * filters))
    z = tf.nn.conv2d(sliced, stacked, 1, [[0, 0], [frames // 2, frames // 2], [0, 0], [0, 0]])
    z = _rectified(parameters, z, f"front{place}", _TOGETHER)
    z = tf.nn.max_pool2d(z, (1, len(starts)), 1, "VALID")
    z = tf.nn.max_pool2d(tf.reshape(z, (-1, FRAMES, _TOGETHER, filters)), (1, _TOGETHER), 1, "VALID")
    return activation(f"front{place}", tf.reshape(z, (-1, FRAMES, filters)))


def _rhythm(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, place: int, activation: Tap) -> tf.Tensor:
    """Filters over time only, (n, 187, filters)."""
    kernel = parameters[f"front{place}.kernel"][:, 0]
    length, filters = kernel.shape
    block = _BLOCKS[place - _TIMBRES]
    taps = -(-(length + block - 1) // block)
    blocks = -(-FRAMES // block)
    before = (length - 1) // 2
    padded = tf.pad(x, [[0, 0], [before, (blocks + taps - 1) * block - FRAMES - before], [0, 0]])
    bands = padded.shape[2]
    cut = tf.reshape(tf.transpose(padded, (0, 2, 1)), (-1, bands, blocks + taps - 1, block))
    shifted = [tf.pad(kernel, [[frame, taps * block - length - frame], [0, 0]]) for frame in range(block)]
    toeplitz = tf.reshape(tf.stack(shifted, axis=1), (1, taps, block, block * filters))
    z = tf.nn.conv2d(cut, toeplitz, 1, "VALID")
    z = _rectified(parameters, z, f"front{place}", block)
    z = tf.nn.max_pool2d(z, (bands, 1), 1, "VALID")
    return activation(f"front{place}", tf.reshape(z, (-1, blocks * block, filters))[:, :FRAMES])


def _over_time(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, number: int, activation: Tap) -> tf.Tensor:
    name = f"mid{number}"
    kernel = parameters[f"{name}.kernel"][:, None]
    z = tf.nn.conv2d(x, kernel, 1, [[0, 0], [3, 3], [0, 0], [0, 0]])
    z = activation(f"{name}.filters", _rectified(parameters, z, name))
    return activation(name, _scaled(parameters, z, name))


def _pooled(parameters: Mapping[str, tf.Tensor], name: str, x: tf.Tensor, kind: str, activation: Tap) -> tf.Tensor:
    """Maximum or mean over time, standardised if there are parameters for it, (n, 1, 1, channels)."""
    scale = parameters.get(f"{kind}.{name}.scale", tf.ones(x.shape[-1]))
    shift = parameters.get(f"{kind}.{name}.shift", tf.zeros(x.shape[-1]))
    # A mean in int8 rounds halves differently on Arm and x86-64; a convolution with equal weights does not.
    kernel = scale[None, None, :, None]
    if kind == "max":
        x = tf.nn.max_pool2d(x, (FRAMES, 1), 1, "VALID")
    else:
        kernel = tf.ones((FRAMES, 1, 1, 1)) * (kernel / FRAMES)
    z = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID") + shift
    return activation(f"{kind}.{name}", z)


def _scaled(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str) -> tf.Tensor:
    kernel = parameters[f"{name}.scale"][None, None, :, None]
    return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID") + parameters[f"{name}.shift"]


def _dense(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str) -> tf.Tensor:
    kernel = parameters[f"{name}.kernel"][None, None]
    return tf.nn.conv2d(x, kernel, 1, "VALID")


def _logits(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str, activation: Tap) -> tf.Tensor:
    return activation(name, _dense(parameters, x, name) + parameters[f"{name}.bias"])


def _rectified(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str, times: int = 1) -> tf.Tensor:
    """Bias and rectifier, limited to 6 or to the limits in the parameters."""
    x += tf.tile(parameters[f"{name}.bias"], [times])
    cap = parameters.get(f"{name}.cap")
    return tf.nn.relu6(x) if cap is None else tf.minimum(tf.nn.relu(x), tf.tile(cap, [times]))
