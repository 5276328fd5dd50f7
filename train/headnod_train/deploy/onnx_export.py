"""A bundle's network as ONNX: int8 as it is, and in real numbers with the same weights.

tf2onnx converts the TFLite file into operators on real numbers between pairs of quantise and dequantise
operators. Without these pairs the network computes in real numbers. Both are run on the golden windows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError, MissingExtraError
from headnod.inference.manifest import Manifest
from headnod.inference.model import dequantised, golden_windows, interpreter, quantise
from headnod.system import how_to_install
from headnod_train.backend import quiet

try:
    with quiet():
        import onnx
        import onnxruntime
        import tf2onnx
        from onnx import numpy_helper
except ImportError as error:
    _MESSAGE = f"ONNX needs tf2onnx, onnx and onnxruntime: {how_to_install('export')} ({error})"
    raise MissingExtraError(_MESSAGE) from error

_OPSET = 18
_STEPS, _CORRELATION = 4.0, 0.98
"""Largest mean difference of an output in int8 steps, and least correlation. Runtimes round sums
differently, and real numbers are not rounded: genre differs by 2.3 steps at a correlation of 0.99, a layer without
its bias differs by 36."""


class ExportError(HeadnodError, ValueError):
    """An exported network does not answer like the bundle's."""


def int8_onnx(content: bytes) -> onnx.ModelProto:
    """A TFLite file as an ONNX model with int8 input and outputs."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=_OPSET)
    _add_biases(model, content)
    return model


def _add_biases(model: onnx.ModelProto, content: bytes) -> None:
    """Add the biases of fully connected layers that tf2onnx 1.17 leaves out."""
    graph, runtime = model.graph, interpreter(content)
    details = {each["index"]: each for each in runtime.get_tensor_details()}
    stored = {each.input[0]: each.output[0] for each in graph.node if each.op_type == "DequantizeLinear"}
    for operator in runtime._get_ops_details():  # noqa: SLF001 - there is no public list of operators
        if operator["op_name"] != "FULLY_CONNECTED" or len(operator["inputs"]) < 3 or operator["inputs"][2] < 0:  # noqa: PLR2004 - input, weights, bias
            continue
        weights, bias = (details[int(place)] for place in operator["inputs"][1:3])
        product = next((each for each in graph.node if stored.get(weights["name"]) in each.input), None)
        if product is None or any(each.op_type == "Add" and product.output[0] in each.input for each in graph.node):
            continue
        scale = bias["quantization_parameters"]["scales"]
        real = (runtime.get_tensor(bias["index"]) * scale).astype(np.float32)
        name, result = f"{weights['name']}_bias", product.output[0]
        graph.initializer.append(numpy_helper.from_array(real, name))
        product.output[0] = f"{result}_product"
        graph.node.insert(
            list(graph.node).index(product) + 1, onnx.helper.make_node("Add", [product.output[0], name], [result])
        )


def float_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without quantise and dequantise operators, with input and outputs in real numbers."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    names: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            graph.initializer.append(numpy_helper.from_array(_real(node, constants), node.output[0]))
        elif node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            names[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    # An output of the graph keeps its name: the operator that gives it is renamed instead.
    given = {output.name: _origin(output.name, names) for output in graph.output}
    renamed = {origin: name for name, origin in given.items()}
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(_origin(name, names), _origin(name, names))
        for place, name in enumerate(node.output):
            node.output[place] = renamed.get(name, name)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    used = {name for node in kept for name in node.input}
    for each in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(each)
    onnx.checker.check_model(result)
    return result


def _origin(name: str, names: dict[str, str]) -> str:
    while name in names:
        name = names[name]
    return name


def _real(node: onnx.NodeProto, constants: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Real numbers of a quantised constant."""
    stored, scale = constants[node.input[0]], constants[node.input[1]]
    zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale)  # noqa: PLR2004 - optional input
    axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
    if scale.ndim:
        shape = [1] * stored.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((stored.astype(np.float32) - zero) * scale, np.float32)


def check(model: onnx.ModelProto, content: bytes, golden: bytes, manifest: Manifest) -> str:
    """Run a model on the golden windows of a bundle, and compare it with the TFLite file.

    Returns:
        What was found, in one line.
    """
    runtime = interpreter(content)
    (taken,) = runtime.get_input_details()
    outputs = {tuple(each["shape"]): each for each in runtime.get_output_details()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    whole = given.type == "tensor(int8)"
    windows, spread = golden_windows(golden), manifest.standardisation
    pairs: dict[tuple[int, ...], list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
    for features in (windows - np.array(spread.mean)) / np.array(spread.deviation):
        stored = quantise(features.astype(np.float32), *taken["quantization"])[None]
        runtime.set_tensor(taken["index"], stored)
        runtime.invoke()
        for found in session.run(None, {given.name: stored if whole else dequantised(stored, taken)}):
            detail = outputs[found.shape]
            wanted = dequantised(runtime.get_tensor(detail["index"]), detail)
            pairs.setdefault(found.shape, []).append((dequantised(found, detail) if whole else found, wanted))
    mean, correlation = 0.0, 1.0
    for shape, both in pairs.items():
        found, wanted = (np.concatenate(each).ravel() for each in zip(*both, strict=True))
        mean = max(mean, float(np.abs(found - wanted).mean()) / outputs[shape]["quantization"][0])
        correlation = min(correlation, float(np.corrcoef(found, wanted)[0, 1]))
    answers = [(one.argmax(), other.argmax()) for one, other in pairs[manifest.output.shape]]
    line = (
        f"mean difference {mean:.2f} int8 steps, correlation {correlation:.4f} on {len(windows)} golden windows, "
        f"the same answer on {sum(one == other for one, other in answers)}"
    )
    if mean > _STEPS or correlation < _CORRELATION:
        raise ExportError(f"the exported network answers otherwise: {line}")
    return line
