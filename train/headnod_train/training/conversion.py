"""TFLite files of a network: float32, float16, 8-bit weights, or int8 throughout.

Listeners run the int8 file; the others show the loss of each step. A global mean becomes a depthwise convolution with
equal weights, because XNNPACK rounds halves of an int8 `MEAN` differently on Arm and x86-64; all other operators of
the network give equal numbers on both.
"""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import keras, quiet, tf

Form = Literal["float32", "float16", "dynamic", "int8"]
FORMS: tuple[Form, ...] = ("float32", "float16", "dynamic", "int8")
"""`dynamic` keeps weights in 8 bits and computes in float32 between layers."""

_OVER_HALVES = 1.0001
"""A mean of ten int8 numbers is a half in every tenth case, and kernels round halves differently: a factor just above 1
lifts each over the half, and moves no other mean of fewer than 39 numbers across one."""


class LayerError(msgspec.Struct, frozen=True):
    """Quantisation error of one layer."""

    operation: str
    """TensorFlow Lite operator, such as CONV_2D."""

    place: int
    """Position in the order of execution, from 0."""

    numbers: int
    """Size of the output."""

    scale: float
    """Value of one int8 step."""

    error: float
    """Root mean square of int8 minus float, in steps. Rounding alone gives 0.29."""


def converted(network: keras.Model, form: Form, windows: NDArray[np.float32]) -> bytes:
    """A network as a TFLite file for a batch of one.

    Args:
        network: With float weights.
        form: Number format.
        windows: Standardised windows, (n, frames, n_mfcc), that determine the int8 ranges.
    """
    with _quiet_conversion():
        converter = _converter(network)
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if form == "int8":
            _in_int8(converter, windows)
            converter.inference_input_type = converter.inference_output_type = tf.int8
        content: bytes = converter.convert()
    return content


def layer_errors(network: keras.Model, windows: NDArray[np.float32]) -> list[LayerError]:
    """Quantisation error of each layer if all layers before it are exact.

    Args:
        network: With float weights.
        windows: Standardised windows, (n, frames, n_mfcc).
    """
    with _quiet_conversion():
        converter = _converter(network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        _in_int8(converter, windows)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: ([window[None]] for window in windows)
        )
        debugger.run()
        statistics = io.StringIO()
        debugger.layer_statistics_dump(statistics)
    return [
        LayerError(
            row["op_name"],
            place,
            int(float(row["num_elements"])),
            float(row["scale"]),
            round(float(row["mean_squared_error"]) ** 0.5 / float(row["scale"]), 4),
        )
        for place, row in enumerate(csv.DictReader(io.StringIO(statistics.getvalue())))
    ]


@contextlib.contextmanager
def _quiet_conversion() -> Iterator[None]:
    with quiet(), warnings.catch_warnings():
        # The converter warns before it has seen the windows.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        # The debugger does not use LiteRT yet.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
        yield


def _converter(network: keras.Model) -> tf.lite.TFLiteConverter:
    # The delegate needs static shapes, and so a batch of exactly one.
    inputs = keras.Input(batch_shape=(1, *network.input_shape[1:]), name="mfcc")
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, _averaging_by_weights(network)(inputs)))


def _averaging_by_weights(network: keras.Model) -> keras.Model:
    """The same network with each global mean as a convolution."""

    def replaced(layer: keras.Layer) -> keras.Layer:
        if not isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return layer.from_config(layer.get_config())
        places = tuple(layer.input.shape[1:3])
        equal = keras.initializers.Constant(_OVER_HALVES / np.prod(places))
        return keras.layers.DepthwiseConv2D(places, depthwise_initializer=equal, use_bias=False, name=layer.name)

    weighed = keras.models.clone_model(network, clone_function=replaced)
    for layer, like in zip(weighed.layers, network.layers, strict=True):
        if like.weights:
            layer.set_weights(like.get_weights())
    return weighed


def _in_int8(converter: tf.lite.TFLiteConverter, windows: NDArray[np.float32]) -> None:
    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for window in windows:
            yield [window[None]]

    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
