"""TFLite files written by hand: one dense layer, so that every number they give is known.

Source: the TensorFlow Lite schema (schema.fbs) and the 8-bit quantisation
specification, real = scale * (stored - zero).
"""

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tflite

Quantised = tuple[float, int]
"""Scale and zero point."""


def dense(
    weights: np.ndarray,
    shape: tuple[int, ...],
    *,
    taken: Quantised | None = None,
    given: Quantised | None = None,
    weight_scale: float = 1.0,
) -> bytes:
    """A network that multiplies its flattened input by weights.

    Args:
        weights: Shape (outputs, inputs); small integers where it is quantised.
        shape: Of the input, the batch of one first.
        taken: Scale and zero point of an int8 input; float32 where None.
        given: The same of the output.
        weight_scale: What the integer weights stand for, each.
    """
    return heads([weights], shape, taken=taken, given=[given], weight_scale=weight_scale)


def heads(
    weights: Sequence[np.ndarray],
    shape: tuple[int, ...],
    *,
    taken: Quantised | None = None,
    given: Sequence[Quantised | None] = (),
    weight_scale: float = 1.0,
) -> bytes:
    """A network of several outputs, each its flattened input multiplied by weights; see `dense`."""
    int8 = taken is not None
    buffers = [tflite.BufferT()]
    kind = tflite.TensorType.INT8 if int8 else tflite.TensorType.FLOAT32
    tensors = [_tensor("features", shape, kind, 0, taken)]
    operators, outputs = [], []
    for number, (matrix, scale) in enumerate(zip(weights, given or [None] * len(weights), strict=True)):
        stored = matrix.astype(np.int8 if int8 else np.float32)
        buffers.append(tflite.BufferT(data=np.frombuffer(stored.tobytes(), np.uint8)))
        place = len(tensors)
        tensors += [
            _tensor(f"weights{number}", matrix.shape, kind, number + 1, (weight_scale, 0) if int8 else None),
            _tensor(f"output{number}", (1, len(matrix)), kind, 0, scale),
        ]
        outputs.append(place + 1)
        operators.append(_fully_connected(0, place, place + 1))
    return _written(tensors, outputs, operators, buffers, version=4 if int8 else 1)


def _fully_connected(taken: int, matrix: int, given: int) -> tflite.OperatorT:
    return tflite.OperatorT(
        opcodeIndex=0,
        inputs=[taken, matrix, -1],
        outputs=[given],
        builtinOptionsType=tflite.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=tflite.FullyConnectedOptionsT(),
    )


def _written(tensors: list, outputs: list[int], operators: list, buffers: list, *, version: int) -> bytes:
    code = tflite.BuiltinOperator.FULLY_CONNECTED
    model = tflite.ModelT(
        version=3,
        operatorCodes=[tflite.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=version)],
        subgraphs=[tflite.SubGraphT(tensors=tensors, inputs=[0], outputs=outputs, operators=operators)],
        buffers=buffers,
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def deep(width: int, *, layers: int, shape: tuple[int, ...]) -> bytes:
    """A network that takes its time: so many layers of that width, which share one matrix of zeros."""
    flat = int(np.prod(shape))
    stored = [
        np.zeros((width, flat), np.float32),
        np.zeros((width, width), np.float32),
        np.zeros((2, width), np.float32),
    ]
    buffers = [tflite.BufferT(), *(tflite.BufferT(data=np.frombuffer(each.tobytes(), np.uint8)) for each in stored)]
    kind = tflite.TensorType.FLOAT32
    tensors = [_tensor("mfcc", shape, kind, 0, None)]
    tensors += [_tensor(f"weights{number}", each.shape, kind, number + 1, None) for number, each in enumerate(stored)]
    tensors += [_tensor(f"hidden{number}", (1, width), kind, 0, None) for number in range(layers + 1)]
    tensors.append(_tensor("logits", (1, 2), kind, 0, None))
    first = 1 + len(stored)
    steps = [(0, 1, first), *((first + each, 2, first + each + 1) for each in range(layers))]
    steps.append((first + layers, 3, first + layers + 1))
    operators = [_fully_connected(*step) for step in steps]
    return _written(tensors, [len(tensors) - 1], operators, buffers, version=1)


def _tensor(name: str, shape: tuple[int, ...], kind: int, buffer: int, quantised: Quantised | None) -> tflite.TensorT:
    scale = None
    if quantised:
        scale = tflite.QuantizationParametersT(scale=[quantised[0]], zeroPoint=[quantised[1]])
    return tflite.TensorT(shape=list(shape), type=kind, buffer=buffer, name=name, quantization=scale)
