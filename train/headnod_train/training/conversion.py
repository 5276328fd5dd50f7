"""TFLite files of a network: in float32, float16, with 8-bit weights, or in int8 throughout.

The int8 file is what a listener runs. The others tell what each step costs, and
the report by layers tells where.

A mean over the whole map becomes a depthwise convolution with equal weights:
XNNPACK rounds halves of an int8 `MEAN` otherwise on Arm than on x86-64, and every
other operator of the network gives the same numbers on both.
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
"""A mean of ten numbers in int8 is a half in every tenth case, and kernels disagree how a half is rounded: a
ten-thousandth more lifts each over it, and moves no other number of fewer than 39 across one."""


class LayerError(msgspec.Struct, frozen=True):
    """What quantising does to the output of one layer."""

    operation: str
    """Of TensorFlow Lite, such as CONV_2D."""

    place: int
    """In the order of execution, from 0."""

    numbers: int
    """In its output."""

    scale: float
    """What one step of int8 stands for."""

    error: float
    """Root mean square of int8 less float, in steps. Rounding alone makes 0.29."""


def converted(network: keras.Model, form: Form, windows: NDArray[np.float32]) -> bytes:
    """A network as a TFLite file for a batch of one.

    Args:
        network: With float weights.
        form: What to compute in.
        windows: Standardised windows, (n, frames, n_mfcc), that show how large
            each tensor of an int8 file grows.
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
    """What int8 does to each layer when all before it are exact.

    Args:
        network: With float weights.
        windows: Standardised windows, (n, frames, n_mfcc), to try.
    """
    with _quiet_conversion():
        converter = _converter(network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        _in_int8(converter, windows)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: ([window[None]] for window in windows)
        )
        debugger.run()
        told = io.StringIO()
        debugger.layer_statistics_dump(told)
    return [
        LayerError(
            row["op_name"],
            place,
            int(float(row["num_elements"])),
            float(row["scale"]),
            round(float(row["mean_squared_error"]) ** 0.5 / float(row["scale"]), 4),
        )
        for place, row in enumerate(csv.DictReader(io.StringIO(told.getvalue())))
    ]


@contextlib.contextmanager
def _quiet_conversion() -> Iterator[None]:
    with quiet(), warnings.catch_warnings():
        # It looks for ranges in the graph before it looks at the windows.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        # The debugger has not moved to LiteRT yet.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
        yield


def _converter(network: keras.Model) -> tf.lite.TFLiteConverter:
    # A batch of exactly one keeps every shape static, or the delegate cannot take it.
    heard = keras.Input(batch_shape=(1, *network.input_shape[1:]), name="mfcc")
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(heard, _averaging_by_weights(network)(heard)))


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
    def shown() -> Iterator[list[NDArray[np.float32]]]:
        for window in windows:
            yield [window[None]]

    converter.representative_dataset = shown
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
