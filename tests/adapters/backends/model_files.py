"""Small model files for tests, made on the spot: ONNX by the `onnx` package, .tflite by the schema of LiteRT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

WEIGHTS = np.array([[0.5, -0.25, 1.0, 0.0], [0.25, 0.5, -0.5, 1.0], [-1.0, 0.75, 0.25, 0.5]], np.float32)
BIAS = np.array([0.1, -0.2, 0.3], np.float32)

Shape = Sequence[int | str | None]


def linear(x: np.ndarray) -> np.ndarray:
    """What the linear models compute."""
    return x @ WEIGHTS.T + BIAS


def value(name: str, shape: Shape, element: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def onnx_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    domains: Sequence[str] = (),
    functions: Sequence[Any] = (),
) -> ModelProto:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(weights))
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def linear_onnx(batch: int | str = "batch", activation: str = "") -> ModelProto:
    weights = [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(BIAS, "b")]
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["z" if activation else "y"], transB=1)]
    if activation:
        nodes.append(helper.make_node(activation, ["z"], ["y"]))
    return onnx_model(nodes, [value("x", [batch, 4])], [value("y", [batch, 3])], weights)


def one_node(operator: str, domain: str = "", **attributes: Any) -> ModelProto:
    """x → operator → y, whatever the operator."""
    node = helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)
    return onnx_model([node], [value("x", ["n", 4])], [value("y", ["n", 4])], domains=[domain] if domain else [])


def endless_onnx() -> ModelProto:
    """A Loop with a condition that is always true, and no end to its count."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("v", [1, 4])],
        [value("c2", [], TensorProto.BOOL), value("v2", [1, 4])],
    )
    most = numpy_helper.from_array(np.array(2**62, np.int64), "m")
    true = numpy_helper.from_array(np.array(True), "t")
    node = helper.make_node("Loop", ["m", "t", "x"], ["y"], body=body)
    return onnx_model([node], [value("x", [1, 4])], [value("y", [1, 4])], [most, true])


def huge_onnx(elements: int) -> ModelProto:
    """Small on disk; running it makes a tensor of so many floats."""
    shape = numpy_helper.from_array(np.array([elements], np.int64), "s")
    nodes = [
        helper.make_node("Expand", ["x", "s"], ["large"]),
        helper.make_node("Exp", ["large"], ["larger"]),
        helper.make_node("ReduceSum", ["larger"], ["y"], keepdims=1),
    ]
    return onnx_model(nodes, [value("x", [1])], [value("y", [1])], [shape])


def external_onnx(location: str, offset: int | None = None, length: int | None = None) -> ModelProto:
    """The linear model with its weights in another file."""
    model = linear_onnx()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in (("location", location), ("offset", offset), ("length", length)):
        if entry is not None:
            tensor.external_data.add(key=key, value=str(entry))
    return model


def nested_onnx(depth: int) -> ModelProto:
    """An If in an If in an If …; the `onnx` package itself gives up at some 30."""
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [value("y", [1, 4])])
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "g", [], [value("y", [1, 4])])
        inner.node[0].attribute[1].ClearField("g")
    return onnx_model(list(inner.node), [value("x", [1, 4]), value("c", [], TensorProto.BOOL)], [value("y", [1, 4])])


def write(path: Path, model: ModelProto | bytes) -> Path:
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def linear_tflite(*, quantised: bool = False, batch: int = 1, custom: str = "", rows: int = 3) -> bytes:
    """The linear model as .tflite; `custom` puts an operator of that name in place of its own."""
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0, 1, 2], [3], 0
    code = schema.OperatorCodeT()
    code.version, code.builtinCode = 4 if quantised else 1, schema.BuiltinOperator.FULLY_CONNECTED
    if custom:
        code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, custom
    else:
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
    code.deprecatedBuiltinCode = code.builtinCode
    contents, scales = (_quantised if quantised else _float)(rows)
    buffers = [schema.BufferT() for _ in range(3)]
    buffers[1].data, buffers[2].data = (list(content.tobytes()) for content in contents)
    types = [_TYPES[array.dtype.name] for array in contents]
    flowing = schema.TensorType.INT8 if quantised else schema.TensorType.FLOAT32
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("x", [batch, 4], flowing, 0, scales[0]),
        _tensor("w", [rows, 4], types[0], 1, scales[1]),
        _tensor("b", [rows], types[1], 2, scales[2]),
        _tensor("y", [batch, rows], flowing, 0, scales[3]),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], buffers
    return packed(model)


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpacked(raw: bytes) -> Any:
    """A .tflite file as objects that a test may change."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(raw, 0))


INPUT_SCALE, WEIGHT_SCALE, OUTPUT_SCALE = 4.0 / 255, 1.0 / 127, 8.0 / 255
Scales = list[tuple[float, int] | None]
_TYPES = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}


def _float(rows: int) -> tuple[list[np.ndarray], Scales]:
    return [np.resize(WEIGHTS, (rows, 4)), np.resize(BIAS, rows)], [None] * 4


def _quantised(rows: int) -> tuple[list[np.ndarray], Scales]:
    weights = np.rint(np.resize(WEIGHTS, (rows, 4)) / WEIGHT_SCALE).astype(np.int8)
    bias = np.rint(np.resize(BIAS, rows) / (INPUT_SCALE * WEIGHT_SCALE)).astype(np.int32)
    return [weights, bias], [(INPUT_SCALE, 3), (WEIGHT_SCALE, 0), (INPUT_SCALE * WEIGHT_SCALE, 0), (OUTPUT_SCALE, -5)]


def _tensor(name: str, shape: list[int], kind: int, buffer: int, scale: tuple[float, int] | None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, buffer
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale[0]], [scale[1]]
    return tensor


def script(**changes: Any) -> bytes:
    """A scripted model that gives numbers 1 to 3 of its four."""
    return json.dumps({"script": "echo", "inputs": {"x": [4]}, "outputs": {"y": [3]}, "at": 1} | changes).encode()
