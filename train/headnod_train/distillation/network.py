"""The network of `genre`: the published tagger MSD_musicnn without its constant filters, in a layout for int8 kernels.

Weight decay has reduced most filters of MSD_musicnn to zero: kernel and batch-norm scale are around 1e-12, so their
output does not depend on the input. They are removed, and their constants are added to the next biases. Batch
normalisation is folded, so only kernels, biases and one scale and shift per channel remain. For a filter with a
negative batch-norm scale, the maximum over bands becomes a minimum. min(c) = limit - max(limit - c), so such a filter
is negated, and `limit` is added to its bias. Tags differ from the tagger's by 0.0002 at most.

A convolution with one input channel fills one of the eight lanes of a vector register. Therefore neighbouring
positions become channels, which takes a twelfth of the time of the same pruned network without slices:

- Filters over 7 frames and many bands: four neighbouring positions in frequency are output channels of one convolution
  over slices of the bands. The last slice overlaps the one before it, which does not change a maximum.
- Filters over time only: a block of frames becomes the input channels, and the outputs for the frames of a block the
  output channels, so the kernel is a Toeplitz matrix.

A second branch computes the convolutions of `genre-small` on the input averaged over five frames: see
`headnod_train.distillation.coarse`.

Every operator has been in TensorFlow Lite since 2023 or earlier, and its int8 results are equal on Arm and x86-64.
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
"""Arrays of the pruned network by name. Without the filters that are removed after training, 54 takes the place of 63,
468 that of 486, and front3 has no filter.

offset                 ()          subtracted from the input log10(1 + 10000 p) of mel power p: padding is zero
front0.. front4.kernel (t, b, n)   over t frames and b bands: 7 x 38, 7 x 67, 128 x 1, 64 x 1, 32 x 1
front0.. front4.bias   (n,)
front0.. front4.cap    (n,)        upper limit of the rectifier, infinite for most. Absent after `equalise`: it is 6
front.scale, .shift    (63,)       of the maxima over bands
mid1.. mid3.kernel     (7, c, n)   over time; the second and third have a residual connection
mid1.. mid3.bias, .cap, .scale, .shift  (n,)
carry.kernel, .shift   (20, 64)    residual connection of the second
keep.scale             (64,)       residual connection of the third; absent if 1
dense.kernel, .bias    (422, 200)  from maxima, then means, over time of all channels to the embedding;
                                   (486, 200) with a coarse branch, whose channels are the last of each
dense.cap              (200,)
tags.kernel, .bias     (200, 50)   to logits of tags

`standardise` and the head of genres add:

max., mean.{front,mid1..mid3}.scale, .shift  (n,)  of each channel after pooling over time
hidden.kernel, .bias, answers.kernel, .bias        from the embedding to logits of the answers

`headnod_train.distillation.coarse` adds:

coarse0.kernel, .bias  (96, 54)    from the mel bands of a coarse frame to bands
coarse0.mean.kernel    (96, 54)    from their means over all coarse frames
coarse1.. coarse6.kernel, .bias (t, b, c, n)  over t coarse frames and b bands: 3 x 3, the last 1 x 7
"""

FRAMES, BANDS = 187, 96
"""Input of the network: frames of 16 ms, log-mel bands."""

COARSE_FRAMES, COARSE_BANDS = 37, 54
"""Input of the convolutions of the coarse branch: frames of 80 ms, bands."""

FRAMES_TOGETHER = 5
"""Frames of the input in a coarse frame."""

COARSE_PLACES = ((37, 27), (19, 14), (19, 14), (10, 7), (10, 7), (10, 1))
"""Positions in time and frequency at which each convolution of the coarse branch is computed."""

FRONT = 5
"""Number of kernel shapes in the first layer."""

_MIDDLE = 3
"""Convolutions over time after the first layer."""
_TIMBRES = 2
"""The first kernel shapes that span bands (timbre); the others span time only (rhythm), as in musicnn."""
_KEPT = 0.01
"""Filters whose norm is below this share of the largest of their layer are removed."""
_EPSILON = 1e-3
_LIMIT, _LEAST_LIMIT = 1.25, 5.0
"""The limit of a negated filter is 1.25 times its bias plus 5; a minimum above it would be clipped."""


class _Layer(NamedTuple):
    kernel: Array
    bias: Array
    scale: Array
    shift: Array
    kept: NDArray[np.intp]
    """Filters that are not constant."""

    def constants(self) -> Array:
        """Outputs of the constant filters, 0 for the others."""
        outputs = np.maximum(self.bias, 0.0) * self.scale + self.shift
        outputs[self.kept] = 0.0
        return outputs


def prune(weights: Weights) -> Parameters:
    """Remove the constant filters, fold batch normalisation, and negate filters with a negative scale."""
    (gain,), (offset,) = _normalisation(weights, 0)
    layers = [_layer(weights, index) for index in range(FRONT + _MIDDLE)]
    parameters: Parameters = {"offset": np.array(-offset / gain)}
    scales, shifts = [], []
    for index, layer in enumerate(layers[:FRONT]):
        scale, shift = layer.scale[layer.kept], layer.shift[layer.kept]
        kernel, bias = layer.kernel[:, :, 0, layer.kept] * gain, layer.bias[layer.kept]
        negated = scale < 0
        limit = np.where(negated, _LIMIT * np.abs(bias) + _LEAST_LIMIT, 0.0)
        parameters[f"front{index}.kernel"] = np.where(negated, -kernel, kernel)
        parameters[f"front{index}.bias"] = np.where(negated, limit - bias, bias)
        # The cap of a negated filter is the rectifier of the original one: both keep c at 0 or above.
        parameters[f"front{index}.cap"] = np.where(negated, limit, np.inf)
        scales.append(np.abs(scale))
        shifts.append(shift + scale * limit)
    parameters |= {"front.scale": np.concatenate(scales), "front.shift": np.concatenate(shifts)}
    return parameters | _middle(layers) | _end(weights, layers)


def _middle(layers: list[_Layer]) -> Parameters:
    sizes = [layer.bias.size for layer in layers[:FRONT]]
    starts = np.cumsum([0, *sizes[:-1]])
    front = np.concatenate([start + layer.kept for start, layer in zip(starts, layers[:FRONT], strict=True)])
    first, second, third = layers[FRONT:]
    constants = np.concatenate([layer.constants() for layer in layers[:FRONT]])
    bias = first.bias + np.einsum("tio,i->o", first.kernel[:, :, 0, :], constants)
    kept, constants = first.kept, first._replace(bias=bias).constants()
    kernels = (first.kernel[:, front, 0][:, :, kept], second.kernel[:, kept, 0], third.kernel[:, :, 0])
    biases = (bias[kept], second.bias + np.einsum("tio,i->o", second.kernel[:, :, 0, :], constants), third.bias)
    parameters: Parameters = {"carry.kernel": np.eye(second.bias.size)[kept], "carry.shift": constants}
    kept_of = (kept, np.arange(second.bias.size), np.arange(third.bias.size))
    each = zip((first, second, third), kernels, biases, kept_of, strict=True)
    for number, (layer, kernel, bias, channels) in enumerate(each, 1):
        parameters |= {
            f"mid{number}.kernel": kernel,
            f"mid{number}.bias": bias,
            f"mid{number}.cap": np.full(bias.size, np.inf),
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
    first_bias = first.bias + np.einsum("tio,i->o", first.kernel[:, :, 0, :], front)
    constants = np.concatenate([front, first._replace(bias=first_bias).constants()])
    bias = bias + constants @ pooled[: constants.size].sum(axis=1)
    kept, start = [], 0
    for index, layer in enumerate(layers):
        kept.append(start + (layer.kept if index <= FRONT else np.arange(layer.bias.size)))
        start += layer.bias.size
    channels = np.concatenate(kept)
    gain, shift = _normalisation(weights, FRONT + _MIDDLE + 2)
    tags = np.asarray(weights["dense_1/kernel"], np.float64)
    return {
        "dense.kernel": np.concatenate([pooled[channels, 0], pooled[channels, 1]]),
        "dense.bias": bias,
        "dense.cap": np.full(bias.size, np.inf),
        "tags.kernel": gain[:, None] * tags,
        "tags.bias": shift @ tags + weights["dense_1/bias"],
    }


def _layer(weights: Weights, index: int) -> _Layer:
    kernel = np.asarray(weights[array_name("conv2d", index, "kernel")], np.float64)
    norm = np.sqrt(np.square(kernel).sum(axis=(0, 1, 2)))
    bias = np.asarray(weights[array_name("conv2d", index, "bias")], np.float64)
    return _Layer(kernel, bias, *_normalisation(weights, index + 1), np.flatnonzero(norm > _KEPT * norm.max()))


def _normalisation(weights: Weights, index: int) -> tuple[Array, Array]:
    """Scale and shift of a batch normalisation."""
    gamma, beta, mean, variance = (
        np.asarray(weights[array_name("batch_normalization", index, part)], np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


_TOGETHER = (3, 4)
"""Positions in frequency per convolution, for each kind of filter over bands. After training there are 20 and 14 of
them, whose 60 and 56 outputs fit into 64 columns."""
_BLOCK = 16
"""Frames of a block of filters over time."""
_BANDS_TOGETHER = 6
"""Bands of a block of the coarse branch's first convolution."""

Hook = Callable[[str, tf.Tensor], tf.Tensor]
"""Called with the name and the value of each tensor between layers; returns the value to use."""


def unchanged(_: str, tensor: tf.Tensor) -> tf.Tensor:
    """Return a tensor unchanged."""
    return tensor


def as_tensors(parameters: Mapping[str, Array]) -> dict[str, tf.Tensor]:
    """The parameters in float32, as the functions below take them."""
    return {name: tf.constant(value, tf.float32) for name, value in parameters.items()}


def forward(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, *, hook: Hook = unchanged) -> dict[str, tf.Tensor]:
    """Run the network.

    Args:
        parameters: See `Parameters`; in float32.
        x: Input minus `offset`, (n, 187, 96).
        hook: Called with every tensor between layers.

    Returns:
        The outputs of `upper_layers`.
    """
    return upper_layers(parameters, *fixed_layers(parameters, x, hook=hook), hook=hook)


def fixed_layers(
    parameters: Mapping[str, tf.Tensor], x: tf.Tensor, *, hook: Hook = unchanged
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Outputs of `first_layer` and, if there is one, of `coarse_branch`, which training does not change."""
    front = first_layer(parameters, x, hook=hook)
    return front, coarse_branch(parameters, x, hook=hook) if "coarse0.kernel" in parameters else None


def first_layer(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, *, hook: Hook = unchanged) -> tf.Tensor:
    """Scaled maxima over bands of the first layer, (n, 187, 1, 63); 90 % of the multiply-adds. See `forward`."""
    x = hook("input", x)
    maxima = [_timbre(parameters, x, index, hook) for index in range(_TIMBRES)]
    rhythms = [index for index in range(_TIMBRES, FRONT) if parameters[f"front{index}.bias"].shape[0]]
    maxima += [_rhythm(parameters, x, index, hook) for index in rhythms]
    front = tf.concat(maxima, axis=2)[:, :, None, :]
    return hook("front", _scaled(parameters, front, "front"))


def coarse_branch(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, *, hook: Hook = unchanged) -> tf.Tensor:
    """Last convolution of the coarse branch, (n, 10, 1, 32). See `forward`."""
    kernel = tf.fill((FRAMES_TOGETHER, 1, BANDS, 1), 1.0 / FRAMES_TOGETHER)
    frames = tf.nn.depthwise_conv2d(x[:, :, None, :], kernel, (1, FRAMES_TOGETHER, FRAMES_TOGETHER, 1), "VALID")
    means = hook("coarse.means", _mean(hook("coarse.frames", frames)))
    bands = _dense(parameters, frames, "coarse0") + parameters["coarse0.bias"]
    bands = hook("coarse0", bands + _dense(parameters, means, "coarse0.mean"))
    z = _first_patches(parameters, bands, hook)
    # Bands are padded so that their positions are those of `genre-small`, which has 60.
    z = _patches(parameters, z, 2, hook, strides=(2, 2), padding=((1, 1), (0, 2)))
    z = _patches(parameters, z, 3, hook, residual=True)
    z = _patches(parameters, z, 4, hook, strides=(2, 2), padding=((1, 1), (1, 0)))
    z = _patches(parameters, z, 5, hook, residual=True)
    return _patches(parameters, z, 6, hook, padding=((0, 0), (0, 0)))


def upper_layers(
    parameters: Mapping[str, tf.Tensor], front: tf.Tensor, coarse: tf.Tensor | None, *, hook: Hook = unchanged
) -> dict[str, tf.Tensor]:
    """The layers after the first, and after the coarse branch.

    Args:
        parameters: See `Parameters`; in float32.
        front: Output of `first_layer`, (n, 187, 1, 63).
        coarse: Output of `coarse_branch`, (n, 10, 1, 32); nothing for a network without one.
        hook: Called with every tensor between layers.

    Returns:
        `tags`, logits of tags, (n, 50); `embedding`, the layer before, (n, 200); `summary`, maxima and means over
        time, (n, 422 or 486); with a head also `answers`, logits of ten genres and "not music", (n, 11).
    """
    first = _over_time(parameters, front, 1, hook)
    carried = tf.nn.conv2d(first, parameters["carry.kernel"][None, None], 1, "VALID")
    carried = hook("carry", carried + parameters["carry.shift"])
    second = hook("mid2.sum", _over_time(parameters, first, 2, hook) + carried)
    residual = second
    if "keep.scale" in parameters:
        kernel = parameters["keep.scale"][None, None, :, None]
        residual = hook("keep", tf.nn.depthwise_conv2d(second, kernel, (1, 1, 1, 1), "VALID"))
    third = hook("mid3.sum", _over_time(parameters, second, 3, hook) + residual)
    maps = {"front": front, "mid1": first, "mid2": second, "mid3": third}
    if coarse is not None:
        maps["coarse"] = coarse
    pooled = [_pooled(parameters, name, each, "max", hook) for name, each in maps.items()]
    pooled += [_pooled(parameters, name, each, "mean", hook) for name, each in maps.items()]
    summary = tf.concat(pooled, axis=3)
    embedding = hook("embedding", _rectified(parameters, _dense(parameters, summary, "dense"), "dense"))
    outputs = {"summary": summary, "embedding": embedding}
    outputs["tags"] = _logits(parameters, embedding, "tags", hook)
    if "answers.kernel" in parameters:
        hidden = _rectified(parameters, _dense(parameters, embedding, "hidden"), "hidden")
        outputs["answers"] = _logits(parameters, hook("hidden", hidden), "answers", hook)
    return {name: tf.reshape(each, (-1, each.shape[-1])) for name, each in outputs.items()}


def multiply_adds(parameters: Mapping[str, NDArray[np.floating]]) -> int:
    """Multiplications of one inference, from the shapes of the kernels; zeros of Toeplitz kernels are not counted."""
    places = {
        f"front{index}": FRAMES * (BANDS - parameters[f"front{index}.kernel"].shape[1] + 1) for index in range(FRONT)
    }
    places |= dict.fromkeys(("mid1", "mid2", "mid3", "carry"), FRAMES)
    places |= {f"coarse{number}": frames * bands for number, (frames, bands) in enumerate(COARSE_PLACES, 1)}
    places["coarse0"] = COARSE_FRAMES
    kernels = {name.removesuffix(".kernel"): each for name, each in parameters.items() if name.endswith(".kernel")}
    return sum(places.get(name, 1) * kernel.size for name, kernel in kernels.items())


def _patches(
    parameters: Mapping[str, tf.Tensor],
    x: tf.Tensor,
    number: int,
    hook: Hook,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], tuple[int, int]] | None = None,
    residual: bool = False,
) -> tf.Tensor:
    """Convolution over time and frequency with a rectifier, (n, frames, bands, channels)."""
    name = f"coarse{number}"
    around = "SAME" if padding is None else [(0, 0), *padding, (0, 0)]
    z = tf.nn.conv2d(x, parameters[f"{name}.kernel"], strides, around) + parameters[f"{name}.bias"]
    return hook(name, tf.nn.relu(z + x if residual else z))


def _first_patches(parameters: Mapping[str, tf.Tensor], bands: tf.Tensor, hook: Hook) -> tf.Tensor:
    """Convolution of 3 frames by 3 bands with a stride of two bands, (n, frames, bands, channels).

    A single input channel would take four times as long as a block of bands with a Toeplitz kernel, which is equal.
    """
    kernel = parameters["coarse1.kernel"][:, :, 0]
    block, filters = _BANDS_TOGETHER, kernel.shape[-1]
    # The last output of a block also reads the first band of the next one.
    shifted = [tf.pad(kernel, [[0, 0], [band, 2 * block - 3 - band], [0, 0]]) for band in range(0, block, 2)]
    toeplitz = tf.reshape(tf.stack(shifted, axis=2), (3, 2, block, block // 2 * filters))
    cut = tf.reshape(bands, (-1, COARSE_FRAMES, COARSE_BANDS // block, block))
    z = tf.nn.conv2d(cut, toeplitz, 1, [[0, 0], [1, 1], [0, 1], [0, 0]])
    z = tf.nn.relu(z + tf.tile(parameters["coarse1.bias"], [block // 2]))
    return hook("coarse1", tf.reshape(z, (-1, *COARSE_PLACES[0], filters)))


def _timbre(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, index: int, hook: Hook) -> tf.Tensor:
    """Filters over 7 frames and many bands, (n, 187, filters)."""
    kernel = parameters[f"front{index}.kernel"]
    frames, width, filters = kernel.shape
    together = _TOGETHER[index]
    last = BANDS - width + 1 - together
    starts = [*range(0, last, together), last]
    reach = width + together - 1
    sliced = tf.stack([x[:, :, start : start + reach] for start in starts], axis=2)
    shifted = [tf.pad(kernel, [[0, 0], [band, together - 1 - band], [0, 0]]) for band in range(together)]
    stacked = tf.reshape(tf.stack(shifted, axis=2), (frames, 1, reach, together * filters))
    z = tf.nn.conv2d(sliced, stacked, 1, [[0, 0], [frames // 2, frames // 2], [0, 0], [0, 0]])
    z = _rectified(parameters, z, f"front{index}", together)
    z = tf.nn.max_pool2d(z, (1, len(starts)), 1, "VALID")
    z = tf.nn.max_pool2d(tf.reshape(z, (-1, FRAMES, together, filters)), (1, together), 1, "VALID")
    return hook(f"front{index}", tf.reshape(z, (-1, FRAMES, filters)))


def _rhythm(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, index: int, hook: Hook) -> tf.Tensor:
    """Filters over time only, (n, 187, filters)."""
    kernel = parameters[f"front{index}.kernel"][:, 0]
    length, filters = kernel.shape
    block = _BLOCK
    taps = -(-(length + block - 1) // block)
    blocks = -(-FRAMES // block)
    before = (length - 1) // 2
    padded = tf.pad(x, [[0, 0], [before, (blocks + taps - 1) * block - FRAMES - before], [0, 0]])
    bands = padded.shape[2]
    cut = tf.reshape(tf.transpose(padded, (0, 2, 1)), (-1, bands, blocks + taps - 1, block))
    shifted = [tf.pad(kernel, [[frame, taps * block - length - frame], [0, 0]]) for frame in range(block)]
    toeplitz = tf.reshape(tf.stack(shifted, axis=1), (1, taps, block, block * filters))
    z = tf.nn.conv2d(cut, toeplitz, 1, "VALID")
    z = _rectified(parameters, z, f"front{index}", block)
    z = tf.nn.max_pool2d(z, (bands, 1), 1, "VALID")
    return hook(f"front{index}", tf.reshape(z, (-1, blocks * block, filters))[:, :FRAMES])


def _over_time(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, number: int, hook: Hook) -> tf.Tensor:
    name = f"mid{number}"
    kernel = parameters[f"{name}.kernel"][:, None]
    z = tf.nn.conv2d(x, kernel, 1, [[0, 0], [3, 3], [0, 0], [0, 0]])
    z = hook(f"{name}.filters", _rectified(parameters, z, name))
    return hook(name, _scaled(parameters, z, name))


def _pooled(parameters: Mapping[str, tf.Tensor], name: str, x: tf.Tensor, kind: str, hook: Hook) -> tf.Tensor:
    """Maximum or mean over time, standardised if there are parameters for it, (n, 1, 1, channels)."""
    scale = parameters.get(f"{kind}.{name}.scale", tf.ones(x.shape[-1]))
    shift = parameters.get(f"{kind}.{name}.shift", tf.zeros(x.shape[-1]))
    kernel = scale[None, None, :, None]
    x = tf.nn.max_pool2d(x, (x.shape[1], 1), 1, "VALID") if kind == "max" else _mean(x)
    z = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID") + shift
    return hook(f"{kind}.{name}", z)


def _mean(x: tf.Tensor) -> tf.Tensor:
    """Mean over time, (n, 1, 1, channels)."""
    # A mean in int8 rounds halves differently on Arm and x86-64; a convolution with equal weights does not. With time
    # as its input channels, its kernel takes 187 bytes; a kernel for each channel would take 12 kB.
    frames, channels = x.shape[1], x.shape[-1]
    across = tf.transpose(x, (0, 2, 3, 1))
    z = tf.nn.conv2d(across, tf.fill((1, 1, frames, 1), 1.0 / frames), 1, "VALID")
    return tf.reshape(z, (-1, 1, 1, channels))


def _scaled(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str) -> tf.Tensor:
    kernel = parameters[f"{name}.scale"][None, None, :, None]
    return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID") + parameters[f"{name}.shift"]


def _dense(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str) -> tf.Tensor:
    kernel = parameters[f"{name}.kernel"][None, None]
    return tf.nn.conv2d(x, kernel, 1, "VALID")


def _logits(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str, hook: Hook) -> tf.Tensor:
    return hook(name, _dense(parameters, x, name) + parameters[f"{name}.bias"])


def _rectified(parameters: Mapping[str, tf.Tensor], x: tf.Tensor, name: str, times: int = 1) -> tf.Tensor:
    """Add the bias and apply a rectifier with the upper limit `.cap`, or 6 without one."""
    x += tf.tile(parameters[f"{name}.bias"], [times])
    cap = parameters.get(f"{name}.cap")
    return tf.nn.relu6(x) if cap is None else tf.minimum(tf.nn.relu(x), tf.tile(cap, [times]))
