"""Replaces the last layer of an int8 TFLite file; all other operators and weights stay identical to the bit.

The file is edited as a flatbuffer, so no float weights and no TensorFlow are needed. The new layer
reads the embedding and, where the shipped head has a hidden layer, that too: then rows of the shipped
head (such as "not music") can be kept exactly, with a weight of zero for the embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.inference.manifest import MODEL, Manifest, read_checked, read_manifest

_ALIGNMENT = 16
"""Bytes; the TFLite schema demands it of every buffer, and Python's flatbuffers ignores that."""
_LEVELS = 255
_WEIGHT_LIMIT = 127
_LINEAR = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED}
_BOUNDS = {
    schema.ActivationFunctionType.NONE: (-np.inf, np.inf),
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
}
"""Range of the output of each activation."""


class TeachError(HeadnodError, ValueError):
    """A network or a collection cannot be used to teach new genres."""


@dataclass(frozen=True)
class Layer:
    """A linear layer in real numbers."""

    kernel: NDArray[np.float64]
    """(outputs, features)."""

    bias: NDArray[np.float64]
    """(outputs,)."""

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Outputs for features of shape (n, features), (n, outputs)."""
        return np.asarray(features @ self.kernel.T + self.bias)

    def rows(self, kept: Sequence[int]) -> Layer:
        """The same layer with some of its outputs."""
        return Layer(self.kernel[list(kept)], self.bias[list(kept)])


class LastLayer:
    """The last layer of a file, its inputs, and the means to replace it."""

    def __init__(self, content: bytes, manifest: Manifest) -> None:
        """Find the layer in the TFLite file of a bundle, with its manifest.

        Raises:
            TeachError: The network has no embedding, or ends with another kind of layer.
        """
        roles = [output.role for output in manifest.tensors]
        if "embedding" not in roles:
            raise TeachError(
                f"{manifest.id}: has no embedding, so it cannot be taught (choose another --base, such as genre)"
            )
        self._content, self._manifest = content, manifest
        self._model = model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        self._graph = model.subgraphs[0]
        self._embedding = self._before_reshape(self._output("embedding"))
        self._answers = self._before_reshape(self._output("answers"))
        self._operator = _producer(self._graph, self._answers)
        if self._operator is None or _code(model, self._operator) not in _LINEAR:
            raise self._unsuitable("does not end with a linear layer")
        self._inputs = self._parts(int(self._operator.inputs[0]))
        quantisations = {self._quantisation(tensor) for tensor in self._inputs}
        if len(quantisations) > 1:
            raise self._unsuitable("has a hidden layer that is quantised otherwise than its embedding")
        ((self._scale, self._zero),) = quantisations

    @property
    def shipped(self) -> Layer:
        """The layer of the file, over all features: the embedding has weights of zero where there is a hidden layer."""
        layer = self._linear(self._operator)
        missing = sum(map(self._size, self._inputs)) - layer.kernel.shape[1]
        return Layer(np.concatenate([np.zeros((len(layer.kernel), missing)), layer.kernel], axis=1), layer.bias)

    def features_of(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """The inputs of the layer for embeddings of shape (n, size), (n, features).

        A hidden layer is computed here in real numbers and rounded to its int8 steps, so a value may be one step
        beside the network's own.

        Raises:
            TeachError: The embedding is of another size, or the hidden layer is of another kind.
        """
        size = self._size(self._embedding)
        if embeddings.ndim != 2 or embeddings.shape[1] != size:  # noqa: PLR2004 - windows and numbers
            raise TeachError(f"{self._manifest.id}: its embedding has {size} numbers, not {embeddings.shape[1:]}")
        parts = [self._rounded(embeddings.astype(np.float64))]
        for place in self._inputs[1:]:
            operator = _producer(self._graph, place)
            if operator is None or _code(self._model, operator) not in _LINEAR or operator.inputs[0] != self._embedding:
                raise self._unsuitable("has a hidden layer that does not follow from its embedding")
            activation = operator.builtinOptions.fusedActivationFunction
            if activation not in _BOUNDS:
                raise self._unsuitable("has a hidden layer with an activation that is neither ReLU nor ReLU6")
            low, high = _BOUNDS[activation]
            parts.append(self._rounded(np.clip(self._linear(operator).logits(parts[0]), low, high)))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at the int8 steps of the features."""
        stored = np.clip(np.rint(values / self._scale) + self._zero, -128, 127)
        return np.asarray((stored - self._zero) * self._scale)

    def _parts(self, taken: int) -> list[int]:
        """The tensors that the layer reads, given its input: the embedding, then the hidden layer if there is one."""
        operator = _producer(self._graph, taken)
        if taken == self._embedding:
            return [taken]
        if operator is not None and _code(self._model, operator) == schema.BuiltinOperator.CONCATENATION:
            # As `replaced` writes it.
            found = [int(place) for place in operator.inputs]
            if len(found) == 2 and found[0] == self._embedding:  # noqa: PLR2004 - embedding and hidden layer
                return found
        return [self._embedding, taken]

    def _linear(self, operator: Any) -> Layer:  # noqa: ANN401
        """A linear operator in real numbers."""
        weights, biases = (self._graph.tensors[place] for place in operator.inputs[1:3])
        kernel = self._stored(weights, np.int8) * np.array(weights.quantization.scale)[:, None]
        return Layer(kernel, self._stored(biases, np.int32)[:, 0] * np.array(biases.quantization.scale))

    @property
    def dense(self) -> Layer:
        """The dense layer that gives the embedding, before its activation (see `bounds`).

        Raises:
            TeachError: The embedding is given by another kind of layer.
        """
        return self._linear(self._dense)

    @property
    def bounds(self) -> tuple[float, float]:
        """Limits of the embedding's activation."""
        return _BOUNDS[self._dense.builtinOptions.fusedActivationFunction]

    @property
    def _dense(self) -> Any:  # noqa: ANN401
        operator = _producer(self._graph, self._embedding)
        if (
            operator is None
            or _code(self._model, operator) not in _LINEAR
            or operator.builtinOptions.fusedActivationFunction not in _BOUNDS
            or self._size(int(operator.inputs[0])) != self._linear(operator).kernel.shape[1]
            # `_add_dense` needs a reshape that it can move, and a hidden layer that goes on with the shipped embedding.
            or self._embedding == self._output("embedding")
            or len(self._inputs) == 1
        ):
            message = (
                f"{self._manifest.id}: has no dense layer before its embedding and no hidden layer after it, so "
                "it cannot be fine-tuned (choose another --base, such as genre)"
            )
            raise TeachError(message)
        return operator

    def with_features(self, *, pooled: bool = False) -> bytes:
        """The file with outputs for the layer's inputs only: the embedding, then the hidden layer if there is one.

        With `pooled` the inputs of the dense layer are the first output.
        """
        model = copy.deepcopy(self._model)
        first = [int(self._dense.inputs[0])] if pooled else []
        model.subgraphs[0].outputs = np.array(first + self._inputs, np.int32)
        model.signatureDefs = []
        return _packed(model)

    def replaced(
        self,
        layer: Layer,
        kept: Sequence[tuple[int, int]],
        logits: NDArray[np.floating],
        *,
        dense: Layer | None = None,
    ) -> bytes:
        """The file with another last layer.

        Args:
            layer: The new layer, over all features.
            kept: Pairs of an output of the new layer and the output of the shipped one whose stored weights it takes.
            logits: Outputs of the new layer for sounds, (n, outputs): they set the range of its int8 output.
            dense: A second dense layer, beside the shipped one. The new last layer reads its output in place of the
                embedding, and all inputs of the new last layer become the embedding. The shipped dense layer stays for
                the tags and the hidden layer.
        """
        model = copy.deepcopy(self._model)
        graph = model.subgraphs[0]
        weights, biases = (copy.deepcopy(graph.tensors[int(place)]) for place in self._operator.inputs[1:3])
        scales, stored, constants = _quantised(layer, self._scale)
        old_scales, old = np.array(weights.quantization.scale), self._stored(weights, np.int8)
        old_constants = self._stored(biases, np.int32)[:, 0]
        for new, shipped in kept:
            scales[new], constants[new] = old_scales[shipped], old_constants[shipped]
            stored[new] = 0
            stored[new, -old.shape[1] :] = old[shipped]
        count = len(scales)
        shape = [count, *weights.shape[1:-1], stored.shape[1]]
        _set(model, weights, shape, stored.astype(np.int8), scales)
        _set(model, biases, [count], constants.astype(np.int32), scales * self._scale)
        operator = _producer(graph, self._answers)
        joined = self._joined(model)
        if dense is not None:
            self._add_dense(model, joined, dense)
        operator.inputs = np.array([joined, len(graph.tensors), len(graph.tensors) + 1], np.int32)
        graph.tensors += [weights, biases]
        self._resize_output(model, count, logits)
        return _packed(model)

    def _joined(self, model: Any) -> int:  # noqa: ANN401 - generated classes have no types
        """The tensor of all features, concatenated by a new operator where there are two parts."""
        graph = model.subgraphs[0]
        if len(self._inputs) == 1:
            return self._inputs[0]
        if int(self._operator.inputs[0]) not in self._inputs:
            # A taught model has that operator already.
            return int(self._operator.inputs[0])
        joined = copy.deepcopy(graph.tensors[self._inputs[0]])
        joined.name, joined.shape = b"features", np.array([1, 1, 1, sum(map(self._size, self._inputs))], np.int32)
        joined.shapeSignature, joined.buffer = None, len(model.buffers)
        model.buffers.append(schema.BufferT())
        graph.tensors.append(joined)
        operator = schema.OperatorT()
        operator.opcodeIndex = _code_index(model, schema.BuiltinOperator.CONCATENATION)
        operator.inputs = np.array(self._inputs, np.int32)
        operator.outputs = np.array([len(graph.tensors) - 1], np.int32)
        operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        operator.builtinOptions = schema.ConcatenationOptionsT(axis=3)
        place = graph.operators.index(_producer(graph, self._answers))
        graph.operators.insert(place, operator)
        return len(graph.tensors) - 1

    def _add_dense(self, model: Any, joined: int, dense: Layer) -> None:  # noqa: ANN401
        """Add a dense layer to the tensor of all features, in place of the shipped one, and make that the embedding.

        Outputs with the weights of the shipped layer stay identical to the bit.
        """
        graph, shipped = model.subgraphs[0], self.dense
        place = graph.operators.index(_producer(graph, self._embedding))
        operator = copy.deepcopy(graph.operators[place])
        weights, biases = (copy.deepcopy(graph.tensors[int(each)]) for each in operator.inputs[1:3])
        taken, _ = self._quantisation(int(operator.inputs[0]))
        scales, stored, constants = _quantised(dense, taken)
        same = (dense.kernel == shipped.kernel).all(axis=1) & (dense.bias == shipped.bias)
        scales[same] = np.array(weights.quantization.scale)[same]
        stored[same] = self._stored(weights, np.int8)[same]
        constants[same] = self._stored(biases, np.int32)[same, 0]
        _set(model, weights, weights.shape, stored.astype(np.int8), scales)
        _set(model, biases, biases.shape, constants.astype(np.int32), scales * taken)
        tuned = copy.deepcopy(graph.tensors[self._embedding])
        tuned.name, tuned.buffer = b"fine-tuned", len(model.buffers)
        model.buffers.append(schema.BufferT())
        first = len(graph.tensors)
        graph.tensors += [weights, biases, tuned]
        operator.inputs = np.array([operator.inputs[0], first, first + 1], np.int32)
        operator.outputs = np.array([first + 2], np.int32)
        graph.operators.insert(place + 1, operator)
        concatenation = _producer(graph, joined)
        concatenation.inputs = np.array([first + 2, *concatenation.inputs[1:]], np.int32)
        output = self._output("embedding")
        reshape = _producer(graph, output)
        reshape.inputs = np.array([joined, *reshape.inputs[1:]], np.int32)
        # Operators are in order of execution.
        graph.operators.remove(reshape)
        graph.operators.append(reshape)
        self._reshape_to(model, output, sum(map(self._size, self._inputs)))

    def _resize_output(self, model: Any, count: int, logits: NDArray[np.floating]) -> None:  # noqa: ANN401
        """Give the answers another number of values, and an int8 range that holds the shipped one and these logits."""
        graph, output = model.subgraphs[0], self._output("answers")
        scale, zero = self._quantisation(self._answers)
        low = min(float(logits.min()), (-128 - zero) * scale)
        high = max(float(logits.max()), (127 - zero) * scale)
        scale = (high - low) / _LEVELS
        for place in {self._answers, output}:
            tensor = graph.tensors[place]
            tensor.shape = np.array([*tensor.shape[:-1], count], np.int32)
            tensor.shapeSignature = None
            tensor.quantization = schema.QuantizationParametersT(
                scale=np.array([scale], np.float32), zeroPoint=np.array([round(-128 - low / scale)], np.int64)
            )
        if output != self._answers:
            self._reshape_to(model, output, count)

    def _reshape_to(self, model: Any, output: int, count: int) -> None:  # noqa: ANN401
        """Let an output that is reshaped have another number of values."""
        graph = model.subgraphs[0]
        reshape = _producer(graph, output)
        graph.tensors[output].shape, graph.tensors[output].shapeSignature = np.array([1, count], np.int32), None
        shape = copy.deepcopy(graph.tensors[reshape.inputs[1]])
        _set(model, shape, [2], np.array([1, count], np.int32), None)
        reshape.inputs = np.array([reshape.inputs[0], len(graph.tensors)], np.int32)
        graph.tensors.append(shape)
        if reshape.builtinOptions is not None:
            reshape.builtinOptions.newShape = np.array([1, count], np.int32)

    def _output(self, role: Literal["answers", "embedding"]) -> int:
        return int(self._graph.outputs[[each.role for each in self._manifest.tensors].index(role)])

    def _before_reshape(self, tensor: int) -> int:
        operator = _producer(self._graph, tensor)
        reshape = operator is not None and _code(self._model, operator) == schema.BuiltinOperator.RESHAPE
        return int(operator.inputs[0]) if reshape else int(tensor)

    def _quantisation(self, tensor: int) -> tuple[float, int]:
        found = self._graph.tensors[tensor]
        if found.type != schema.TensorType.INT8:
            raise self._unsuitable("is not an int8 network")
        return float(found.quantization.scale[0]), int(found.quantization.zeroPoint[0])

    def _size(self, tensor: int) -> int:
        return int(self._graph.tensors[tensor].shape[-1])

    def _stored(self, tensor: Any, kind: type[np.generic]) -> NDArray[Any]:  # noqa: ANN401
        """Numbers of a constant tensor, (outputs, inputs)."""
        data = np.frombuffer(bytes(self._model.buffers[tensor.buffer].data), kind)
        return data.reshape(int(tensor.shape[0]), -1)

    def _unsuitable(self, reason: str) -> TeachError:
        return TeachError(f"{self._manifest.id}/{MODEL}: {reason}, so it cannot be taught (choose another --base)")


def network_with_body(body: str, folders: Iterable[Path]) -> LastLayer:
    """The last layer of the first bundle whose `Manifest.body` is this one; damaged ones are passed over.

    Raises:
        TeachError: None has it.
    """
    for folder in folders:
        try:
            manifest = read_manifest(folder)
            if manifest.body == body:
                return LastLayer(read_checked(folder, MODEL, manifest), manifest)
        except HeadnodError:
            continue
    raise TeachError(
        f"no model here has the network {body[:12]} that the corrections were made with (install it again)"
    )


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # generated, without types
    """A buffer whose data starts at a multiple of 16 bytes."""

    def Pack(self, builder: Builder) -> int:  # noqa: N802 - as generated
        data = None
        if self.data is not None:
            raw = bytes(self.data)
            builder.StartVector(1, len(raw), _ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def _packed(model: Any) -> bytes:  # noqa: ANN401
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    builder = Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _set(model: Any, tensor: Any, shape: Sequence[int], data: NDArray[Any], scales: NDArray[Any] | None) -> None:  # noqa: ANN401
    """Give a constant tensor new numbers, in a buffer of its own."""
    tensor.shape, tensor.shapeSignature = np.array(shape, np.int32), None
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT(np.frombuffer(data.tobytes(), np.uint8)))
    if scales is not None:
        tensor.quantization = schema.QuantizationParametersT(
            scale=scales.astype(np.float32), zeroPoint=np.zeros(len(scales), np.int64)
        )


def _quantised(layer: Layer, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Scale of each output's int8 weights, the weights, and the int32 biases, for an input of this scale."""
    scales = np.maximum(np.abs(layer.kernel).max(axis=1), 1e-9) / _WEIGHT_LIMIT
    return scales, np.rint(layer.kernel / scales[:, None]), np.rint(layer.bias / (scales * scale))


def _producer(graph: Any, tensor: int) -> Any:  # noqa: ANN401
    """The operator that gives a tensor; None if it is an input or a constant."""
    return next((each for each in graph.operators if tensor in each.outputs), None)


def _code(model: Any, operator: Any) -> int:  # noqa: ANN401
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _code_index(model: Any, wanted: int) -> int:  # noqa: ANN401
    for place, code in enumerate(model.operatorCodes):
        if max(int(code.builtinCode), int(code.deprecatedBuiltinCode)) == wanted:
            return place
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=wanted, builtinCode=wanted, version=2))
    return len(model.operatorCodes) - 1
