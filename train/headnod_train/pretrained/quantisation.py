"""TFLite files of the network, with bias correction for int8.

Rounding errors of the convolutions cause a constant error in each maximum and mean over time. Its mean over some
windows is subtracted from the next bias.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headnod.inference.model import dequantised, interpreter, quantise
from headnod_train.backend import quiet, tf
from headnod_train.pretrained.network import BANDS, FRAMES, forward
from headnod_train.pretrained.pruning import Parameters

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
    constants = {name: tf.constant(value, tf.float32) for name, value in parameters.items()}

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
    constants = {name: tf.constant(value, tf.float32) for name, value in parameters.items()}

    graph = tf.function(
        lambda x: forward(constants, x),
        input_signature=[tf.TensorSpec((None, FRAMES, BANDS), tf.float32)],
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
