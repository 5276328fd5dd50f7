"""A second branch of `genre`: the convolutions of `genre-small` on the same input, averaged over five frames.

The first layer of the tagger looks at 0.1 s across many bands, or at one band for longer, and a room blurs both. The
convolutions of `genre-small` see patches of a coarse spectrogram and were trained on sound in rooms. Mean and maximum
over time of their last layer are further inputs of the layer of the embedding.

The front ends differ: `genre-small` has 38 frames of 77 ms at 22,050 Hz and starts with an inverse DCT. The coarse
frames have 80 ms, and a linear map from the mel bands of `genre` takes the place of the inverse DCT. It is fitted to
the bands of `genre-small` for the same windows.

A filter of the first kernel shape takes 3 million multiply-adds, and some hardly change the tags. Two of these are
removed, which saves more than the branch takes.

The branch has answers of its own, fitted to the labels of an archive by logistic regression. They are wrong more often
than those of the network, but for other windows, and they are added as a mean of log-probabilities. The embedding and
the hidden layer pass them on, in place of numbers that hardly change the answers, so the layout of the file and the
training of other last layers on the embedding (`headnod-train teach`) stay as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headnod.inference.model import GenreModel
from headnod_train.backend import tf
from headnod_train.distillation.answer_layer import LinearAnswers, fit_labels
from headnod_train.distillation.batches import MUSIC, network_input
from headnod_train.distillation.network import (
    BANDS,
    COARSE_BANDS,
    COARSE_FRAMES,
    COARSE_PLACES,
    FRAMES_TOGETHER,
    FRONT,
    Array,
    Parameters,
    as_tensors,
    fixed_layers,
    upper_layers,
)
from headnod_train.distillation.quantisation import LIMIT, evaluated
from headnod_train.distillation.student import TrainingSet
from headnod_train.distillation.window_sets import GENRE, WindowSet
from headnod_train.training.fit import StartingWeights, spread_of

CHANNELS = 32
"""Channels of the last convolution that are kept, those with the largest weights in the logits of `genre-small`."""

SHARE = 0.3
"""Share of the branch's answers in the mean of log-probabilities, chosen on valid clips (0.2 to 0.4 are alike)."""

_INVERSE_STRENGTH = 100.0
"""C of the logistic regression; the branch has half as many numbers as the embedding of `genre-small`."""

_PER_LOGIT, _ZERO = 0.25, 1.1
"""A logit of the branch in the embedding: the product with the first, plus the second. Logits below -4.4 count as
-4.4, and those above 19.6 as 19.6. Larger numbers would dominate the distances between embeddings."""

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
    last, kept = len(start.convolutions), _kept(start)
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


def _kept(start: StartingWeights) -> NDArray[np.intp]:
    """Channels of the last convolution of `genre-small` that the branch has, in order."""
    logits = np.abs(start.logits.kernel).sum(axis=1)
    means, maxima = np.split(logits, 2)
    return np.sort(np.argsort(-(means + maxima))[:CHANNELS])


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


def answers_of_branch(
    model: GenreModel,
    start: StartingWeights,
    archived: TrainingSet,
    other: tuple[NDArray[np.float16], NDArray[np.float16]],
) -> LinearAnswers:
    """Fit answers to maxima, then means, over time of the branch's channels, as `genre-small` computes them.

    Args:
        model: `genre-small`.
        start: Its weights.
        archived: Windows of labelled tracks.
        other: Windows of speech and noise, clean and degraded, each (n, frames, n_mfcc).
    """
    kept, size = _kept(start), start.logits.kernel.shape[0]

    def embed(windows: NDArray[np.float16]) -> NDArray[np.float32]:
        embeddings = [model.predict(window.astype(np.float32)).embedding for window in windows]
        means, maxima = np.split(np.array(embeddings, np.float32).reshape(-1, size), 2, axis=1)
        return np.concatenate([maxima[:, kept], means[:, kept]], axis=1)

    return fit_labels(embed, archived, other, inverse_strength=_INVERSE_STRENGTH)


def with_answers(parameters: Parameters, windows: NDArray[np.float32], branch: LinearAnswers) -> Parameters:
    """A network of the same size whose logits are 1 / (1 - `SHARE`) times the mean with those of the branch.

    Args:
        parameters: Equalised and standardised, with the branch and a head.
        windows: Inputs on which the numbers that are replaced change the answers least, (n, 187, 96).
        branch: From `answers_of_branch`. An answer that it lacks gets the mean of its logits.
    """
    p = {name: np.array(value, np.float64) for name, value in parameters.items()}
    count = branch.bias.size
    embedding = evaluated(p, windows)["embedding"].astype(np.float64)

    def hidden(given: Array) -> Array:
        return np.clip(given @ p["hidden.kernel"] + p["hidden.bias"], 0.0, LIMIT)

    exact, changes = hidden(embedding), []
    for number in range(embedding.shape[1]):
        replaced = embedding.copy()
        replaced[:, number] = embedding[:, number].mean()
        changes.append(np.abs((hidden(replaced) - exact) @ p["answers.kernel"]).mean())
    numbers = np.argsort(changes)[:count]
    means = embedding.mean(axis=0)
    for name in ("tags", "hidden"):
        p[f"{name}.bias"] += means[numbers] @ p[f"{name}.kernel"][numbers]
        p[f"{name}.kernel"][numbers] = 0.0
    exact = hidden(embedding)
    changes = np.abs(exact - exact.mean(axis=0)).mean(axis=0) * np.abs(p["answers.kernel"]).sum(axis=1)
    carriers = np.argsort(changes)[:count]
    p["answers.bias"] += exact.mean(axis=0)[carriers] @ p["answers.kernel"][carriers]
    p["hidden.kernel"][:, carriers] = 0.0
    p["hidden.kernel"][numbers, carriers] = 1.0
    p["hidden.bias"][carriers] = 0.0
    # Constants common to all answers change nothing.
    kernel = branch.kernel - branch.kernel.mean(axis=1, keepdims=True)
    bias = branch.bias - branch.bias.mean()
    rows = np.arange(CHANNELS) - CHANNELS
    p["dense.kernel"][:, numbers] = 0.0
    half = p["dense.kernel"].shape[0] // 2
    for kind, part, places in (("max", kernel[:CHANNELS], half + rows), ("mean", kernel[CHANNELS:], 2 * half + rows)):
        scaled = part / p[f"{kind}.coarse.scale"][:, None]
        p["dense.kernel"][np.ix_(places, numbers)] = _PER_LOGIT * scaled
        bias = bias - p[f"{kind}.coarse.shift"] @ scaled
    p["dense.bias"][numbers] = _PER_LOGIT * bias + _ZERO
    ratio = SHARE / (1.0 - SHARE)
    p["answers.kernel"][carriers] = 0.0
    p["answers.kernel"][carriers, branch.answers] = ratio / _PER_LOGIT
    p["answers.bias"][branch.answers] -= ratio * _ZERO / _PER_LOGIT
    return p


def without_shape(parameters: Parameters, windows: NDArray[np.float32], shape: int) -> Parameters:
    """Remove all filters of a kernel shape; their means take their place in the next biases.

    In the first and last three frames that differs: there the next layer would see zeros in place of the outputs.

    Args:
        parameters: Equalised and standardised, with the branch.
        windows: Inputs from which the constants are measured, (n, 187, 96).
        shape: Number of the kernel shape in the first layer.
    """
    front, _ = _fixed_outputs(parameters, windows)
    start, end = (sum(parameters[f"front{index}.bias"].size for index in range(each)) for each in (shape, shape + 1))
    return _without(parameters, list(range(start, end)), front)


def without_weakest(parameters: Parameters, windows: NDArray[np.float32], count: int) -> Parameters:
    """Remove the filters of the first kernel shape that a constant can replace best.

    Args:
        parameters: Equalised and standardised, with the branch.
        windows: Inputs from which means and changes are measured, (n, 187, 96).
        count: Filters to remove.
    """
    front, coarse = _fixed_outputs(parameters, windows)
    constants, starts = as_tensors(parameters), range(0, len(windows), _BATCH)
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


def _fixed_outputs(
    parameters: Parameters, windows: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs of the first layer and of the branch."""
    constants = as_tensors(parameters)
    fixed = tf.function(lambda x: fixed_layers(constants, x))
    starts = range(0, len(windows), _BATCH)
    outputs = zip(*(fixed(tf.constant(windows[start : start + _BATCH])) for start in starts), strict=True)
    front, coarse = (np.concatenate([part.numpy() for part in parts]) for parts in outputs)
    return front, coarse


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
    ends = np.cumsum([p[f"front{index}.bias"].size for index in range(FRONT)])
    kept = np.isin(np.arange(ends[-1]), removed, invert=True)
    for index, own in enumerate(np.split(kept, ends[:-1])):
        for name in (f"front{index}.kernel", f"front{index}.bias"):
            p[name] = p[name][..., own]
    for name in ("front", "max.front", "mean.front"):
        for part in ("scale", "shift"):
            p[f"{name}.{part}"] = np.delete(p[f"{name}.{part}"], removed)
    return p
