"""TFLite files of the network: cross-layer equalisation, and bias correction for int8.

Equalisation brings all channels to the same range, because a tensor has one int8 scale and the ranges of the tagger's
channels differ by factors of hundreds. A channel is divided by a factor and the weights of the next layer are
multiplied by it; rectifier, maximum over bands and positive scales commute with that, so the results are equal. Outputs
of rectifiers are scaled to 0..6 and limited there, which costs nothing at run time (RELU6): without the limit, the few
largest values of the calibration windows would set the scale of the whole tensor.

Rounding errors of the convolutions cause a constant error in each maximum and mean over time. Its mean over some
windows is subtracted from the next bias.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headnod.inference.model import dequantised, interpreter, quantise
from headnod_train.backend import quiet, tf
from headnod_train.distillation.network import BANDS, FRAMES, FRONT, Array, Parameters, as_tensors, forward

LIMIT = 6.0
"""Upper limit of rectifiers, as RELU6."""

_HEADROOM = 1.5
"""Limit of a rectifier over the 99.9th percentile of its output."""
_LEAST = 0.02
"""Smallest range of a channel, as a share of the median: larger factors overflow the runtime's fixed-point scales."""
_BATCH = 32
_TINY = 1e-6


def equalise(parameters: Parameters, windows: NDArray[np.float32]) -> Parameters:
    """An equal network whose channels have equal ranges.

    Args:
        parameters: From `prune`.
        windows: Inputs from which ranges are measured, (n, 187, 96).
    """
    p = {name: np.array(value, np.float64) for name, value in parameters.items()}
    _front(p, _tops(p, windows))
    ranges = _ranges(p, windows)
    for number in (1, 2, 3):
        _limit(p, f"mid{number}", ranges[f"mid{number}.filters"])
    shares = {name: _floored(ranges[name]) for name in ("front", "mid1")}
    # The residual sums are added to each other, so they need equal factors.
    shares["mid2"] = shares["mid3"] = _floored(np.maximum(ranges["mid2.sum"], ranges["mid3.sum"]))
    for name, share in shares.items():
        p[f"{name}.scale"] /= share
        p[f"{name}.shift"] /= share
    for number, before in ((1, "front"), (2, "mid1"), (3, "mid2")):
        p[f"mid{number}.kernel"] *= shares[before][:, None]
    p["carry.kernel"] *= shares["mid1"][:, None] / shares["mid2"]
    p["carry.shift"] /= shares["mid2"]
    everything = np.concatenate([shares[name] for name in ("front", "mid1", "mid2", "mid3")])
    p["dense.kernel"] *= np.tile(everything, 2)[:, None]
    _limit_dense(p, ranges["embedding"])
    return p


def separate(parameters: Parameters, windows: NDArray[np.float32]) -> Parameters:
    """An equal network in which the second of the middle layers has its own factors.

    The third layer adds the second, so they share their factors after `equalise`, and some channels of the second use a
    thirtieth of its range. Here they use all of it, and a scale in the residual connection compensates.

    Args:
        parameters: Equalised.
        windows: Inputs from which ranges are measured, (n, 187, 96).
    """
    p = {name: np.array(value, np.float64) for name, value in parameters.items()}
    share = _floored(_ranges(p, windows)["mid2.sum"])
    for name in ("mid2.scale", "mid2.shift", "carry.kernel", "carry.shift"):
        p[name] /= share
    p["keep.scale"] = p.get("keep.scale", np.ones_like(share)) * share
    p["mid3.kernel"] *= share[:, None]
    for kind in ("max", "mean"):
        p[f"{kind}.mid2.scale"] = p.get(f"{kind}.mid2.scale", 1.0) * share
        p.setdefault(f"{kind}.mid2.shift", np.zeros_like(share))
    return p


def standardise(parameters: Parameters, windows: NDArray[np.float32]) -> Parameters:
    """An equal network whose maxima and means over time are in -1..1, so that they can share an int8 scale."""
    p = {name: np.array(value, np.float64) for name, value in parameters.items()}
    pooled = _collected(p, windows, lambda name: name.startswith(("max.", "mean.")))
    centres, halves = [], []
    for kind in ("max", "mean"):
        for name in (each.removeprefix("max.") for each in pooled if each.startswith("max.")):
            values = pooled[f"{kind}.{name}"]
            low, high = np.percentile(values, 0.3, axis=0), np.percentile(values, 99.7, axis=0)
            half = _floored((high - low) / 2.0)
            centre = (high + low) / 2.0
            p[f"{kind}.{name}.scale"] = p.get(f"{kind}.{name}.scale", 1.0) / half
            p[f"{kind}.{name}.shift"] = (p.get(f"{kind}.{name}.shift", 0.0) - centre) / half
            centres.append(centre)
            halves.append(half)
    p["dense.bias"] = p["dense.bias"] + np.concatenate(centres) @ p["dense.kernel"]
    p["dense.kernel"] = p["dense.kernel"] * np.concatenate(halves)[:, None]
    return p


def _tops(parameters: Parameters, windows: NDArray[np.float32]) -> Array:
    """Percentiles 0.1 and 99.9 of the first layer's maxima over bands, before scale and shift, (2, channels)."""
    values = _collected(parameters, windows, lambda name: name == "front")["front"]
    return np.asarray(
        np.percentile((values - parameters["front.shift"]) / parameters["front.scale"], [0.1, 99.9], axis=0)
    )


def _front(p: Parameters, extent: Array) -> None:
    low, high = extent
    start = 0
    for place in range(FRONT):
        part = slice(start, start + p[f"front{place}.bias"].size)
        start = part.stop
        cap = p.pop(f"front{place}.cap")
        turned = np.isfinite(cap)
        # A negated filter counts down from its limit: its range is from its lowest output to the limit.
        limit = _HEADROOM * np.where(turned, cap - low[part], high[part])
        limit = _floored(limit)
        moved = np.where(turned, cap - limit, 0.0)
        p[f"front{place}.bias"] -= moved
        p["front.shift"][part] += p["front.scale"][part] * moved
        p[f"front{place}.kernel"] *= LIMIT / limit
        p[f"front{place}.bias"] *= LIMIT / limit
        p["front.scale"][part] *= limit / LIMIT


def _limit(p: Parameters, name: str, high: Array) -> None:
    del p[f"{name}.cap"]
    limit = _HEADROOM * _floored(high)
    p[f"{name}.kernel"] *= LIMIT / limit
    p[f"{name}.bias"] *= LIMIT / limit
    p[f"{name}.scale"] *= limit / LIMIT


def _limit_dense(p: Parameters, high: Array) -> None:
    del p["dense.cap"]
    limit = _HEADROOM * _floored(high)
    p["dense.kernel"] *= LIMIT / limit
    p["dense.bias"] *= LIMIT / limit
    for name in ("tags", "hidden"):
        if f"{name}.kernel" in p:
            p[f"{name}.kernel"] *= (limit / LIMIT)[:, None]


def _ranges(p: Parameters, windows: NDArray[np.float32]) -> dict[str, Array]:
    wanted = ("front", "mid1", "mid1.filters", "mid2.filters", "mid3.filters", "mid2.sum", "mid3.sum", "embedding")
    found = _collected(p, windows, lambda name: name in wanted)
    return {name: np.percentile(np.abs(values), 99.9, axis=0) for name, values in found.items()}


def _floored(share: Array) -> Array:
    return np.maximum(share, _LEAST * max(float(np.median(share)), float(share.mean())) + _TINY)


def _collected(
    parameters: Mapping[str, Array], windows: NDArray[np.float32], wanted: Callable[[str], bool]
) -> dict[str, Array]:
    """Every value of chosen tensors, (values, channels)."""
    constants = as_tensors(parameters)
    found: dict[str, list[NDArray[np.float32]]] = {}

    def watch(name: str, tensor: tf.Tensor) -> tf.Tensor:
        if wanted(name):
            found.setdefault(name, []).append(tensor.numpy().reshape(-1, tensor.shape[-1]))
        return tensor

    for start in range(0, len(windows), _BATCH):
        forward(constants, tf.constant(windows[start : start + _BATCH]), hook=watch)
    return {name: np.concatenate(values).astype(np.float64) for name, values in found.items()}


OUTPUTS = ("answers", "tags", "embedding")
"""Outputs of a file."""


def converted(
    parameters: Parameters,
    windows: NDArray[np.float32],
    *,
    form: Literal["float32", "int8"] = "int8",
    outputs: Sequence[str] = OUTPUTS,
) -> bytes:
    """The network as a TFLite file for a batch of one.

    Args:
        parameters: Equalised, with a head.
        windows: Inputs from which the ranges of an int8 file are measured, (n, 187, 96).
        form: Number format of the file.
        outputs: Outputs, from those of `upper_layers`.
    """
    module = tf.Module()
    constants = as_tensors(parameters)

    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        found = forward(constants, x)
        return {name: found[name] for name in outputs}

    module.run = tf.function(run, input_signature=[tf.TensorSpec((1, FRAMES, BANDS), tf.float32, name="log_mel")])
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.run.get_concrete_function()], module)
        if form == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: _shown(windows)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        content: bytes = converter.convert()
    return content


def run_file(
    content: bytes, windows: NDArray[np.float32], outputs: Sequence[str] = OUTPUTS
) -> dict[str, NDArray[np.float32]]:
    """Outputs of a file for windows, by name."""
    network = interpreter(content)
    runner = network.get_signature_runner()
    details = runner.get_output_details()
    (taken,) = runner.get_input_details().values()
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
    for window in windows:
        given = runner(log_mel=_rounded(window[None], taken))
        for name, values in found.items():
            values.append(dequantised(given[name][0], details[name]))
    return {name: np.stack(values) for name, values in found.items()}


def corrected(parameters: Parameters, windows: NDArray[np.float32], shown: NDArray[np.float32]) -> Parameters:
    """The network with the mean error of int8 subtracted from the bias of its embedding.

    Args:
        parameters: Equalised, with a head.
        windows: About a thousand training windows, (n, 187, 96).
        shown: The `windows` of the conversion: other ranges have other errors.
    """
    p = dict(parameters)
    exact = evaluated(p, windows)
    content = converted(p, shown, outputs=("summary",))
    error = (exact["summary"] - run_file(content, windows, ("summary",))["summary"]).mean(axis=0)
    p["dense.bias"] = p["dense.bias"] + error @ p["dense.kernel"]
    return p


def evaluated(parameters: Parameters, windows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Outputs of the network in float32, by name."""
    constants = as_tensors(parameters)

    graph = tf.function(
        lambda x: forward(constants, x), input_signature=[tf.TensorSpec((None, FRAMES, BANDS), tf.float32)]
    )
    parts = [graph(tf.constant(windows[start : start + 32])) for start in range(0, len(windows), 32)]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def _shown(windows: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for window in windows:
        yield [window[None]]


def _rounded(window: NDArray[np.float32], details: dict[str, Any]) -> NDArray[np.generic]:
    if details["dtype"] is not np.int8:
        return window
    scale, zero = details["quantization"]
    return quantise(window, scale, zero)
