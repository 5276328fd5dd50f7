"""TFLite files of the network, and what is done about the error of int8.

Errors of rounding in the convolutions leave a constant difference in each maximum and mean over time. Its mean over
some windows is taken from the next bias.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headnod.inference.interpreter import interpreter
from headnod.inference.model import dequantised, quantise
from headnod_train.backend import quiet, tf
from headnod_train.pretrained.network import BANDS, FRAMES, forward
from headnod_train.pretrained.pruning import Parameters

OUTPUTS = ("answers", "tags", "embedding")
"""What a file gives."""


def converted(
    parameters: Parameters,
    windows: NDArray[np.float32],
    *,
    band_step: int = 1,
    form: Literal["float32", "int8"] = "int8",
    outputs: Sequence[str] = OUTPUTS,
) -> bytes:
    """The network as a TFLite file for a batch of one.

    Args:
        parameters: Equalised, with a head.
        windows: Input that shows how large each tensor of an int8 file grows, (n, 187, 96).
        band_step: As in `forward`.
        form: What to compute in.
        outputs: What it gives, of what `forward` names.
    """
    module = tf.Module()
    constants = {name: tf.constant(value, tf.float32) for name, value in parameters.items()}

    def run(heard: tf.Tensor) -> dict[str, tf.Tensor]:
        found = forward(constants, heard, band_step=band_step)
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
    """What a file gives for windows, by name of the output."""
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


def corrected(
    parameters: Parameters, windows: NDArray[np.float32], shown: NDArray[np.float32], *, band_step: int = 1
) -> Parameters:
    """The network with the mean error of int8 taken from its last biases.

    Args:
        parameters: Equalised, with a head.
        windows: About a thousand training windows, (n, 187, 96).
        shown: As the `windows` that the file is converted with: other ranges have other errors.
        band_step: As in `forward`.
    """
    p = dict(parameters)
    exact = evaluated(p, windows, band_step=band_step)
    content = converted(p, shown, band_step=band_step, outputs=("summary",))
    error = (exact["summary"] - run_file(content, windows, ("summary",))["summary"]).mean(axis=0)
    p["dense.bias"] = p["dense.bias"] + error @ p["dense.kernel"]
    return p


def evaluated(
    parameters: Parameters, windows: NDArray[np.float32], *, band_step: int = 1
) -> dict[str, NDArray[np.float32]]:
    """What the network gives in float32."""
    constants = {name: tf.constant(value, tf.float32) for name, value in parameters.items()}

    graph = tf.function(
        lambda heard: forward(constants, heard, band_step=band_step),
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
