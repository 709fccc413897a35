"""The keyword network of MLPerf Tiny (a DS-CNN): its layers read from the .tflite file, and written again as ONNX.

In between its last layer is replaced: the network above hears through the same ears, and has learned more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
FRAMES, COEFFICIENTS = 49, 10


class Layer(NamedTuple):
    """A convolution with a ramp behind it."""

    weights: Array
    """(out, in, height, width). By channel: in is 1, and there are as many groups as channels."""
    bias: Array
    stride: int
    by_channel: bool


class Dense(NamedTuple):
    """What is done to the 64 means and 64 maxima: layers with ramps between them, after a normalisation."""

    mean: Array
    deviation: Array
    layers: list[tuple[Array, Array]]


def read_layers(path: Path) -> list[Layer]:
    """Of the float model, whose weights are partly stored as int8 with a scale per channel. Not its last layer."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph, layers = model.subgraphs[0], []
    kinds = schema.BuiltinOperator
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind not in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D):
            continue
        weights, bias = (_numbers(model, graph.tensors[index], schema) for index in operator.inputs[1:3])
        by_channel = kind == kinds.DEPTHWISE_CONV_2D
        order = (3, 0, 1, 2) if by_channel else (0, 3, 1, 2)
        layers.append(Layer(weights.transpose(order), bias, operator.builtinOptions.strideH, by_channel))
    return layers


def _numbers(model: Any, tensor: Any, schema: Any) -> Array:
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    if tensor.type == schema.TensorType.FLOAT32:
        return np.frombuffer(raw, np.float32).reshape(tensor.shape)
    steps = np.frombuffer(raw, np.int8).reshape(tensor.shape).astype(np.float32)
    scales = np.asarray(tensor.quantization.scale, np.float32)
    along = [1] * steps.ndim
    along[tensor.quantization.quantizedDimension] = len(scales)
    return np.asarray(steps * scales.reshape(along))


def multiply_adds(layers: list[Layer]) -> int:
    height, width, total = FRAMES, COEFFICIENTS, 0
    for layer in layers:
        height, width = -(-height // layer.stride), -(-width // layer.stride)
        total += height * width * layer.weights.size
    return total


def as_onnx(layers: list[Layer], dense: Dense | None = None) -> bytes:
    """`mfcc` (batch, 49, 10) to `scores`; without `dense` to `heard`, the means and maxima that it would be fed."""
    graph = _Graph()
    last = graph.add("Reshape", "mfcc", graph.weight(np.array([-1, 1, FRAMES, COEFFICIENTS], np.int64)))
    for layer in layers:
        groups = len(layer.weights) if layer.by_channel else 1
        fixed = {"strides": [layer.stride] * 2, "auto_pad": "SAME_UPPER", "group": groups}
        last = graph.add("Conv", last, graph.weight(layer.weights), graph.weight(layer.bias), **fixed)
        last = graph.add("Relu", last)
    ends = [graph.add(kind, last) for kind in ("GlobalAveragePool", "GlobalMaxPool")]
    last = graph.add("Flatten", graph.add("Concat", *ends, axis=1))
    if dense is None:
        return graph.finished(last, "heard", 2 * len(layers[-1].weights))
    last = graph.add("Sub", last, graph.weight(dense.mean))
    last = graph.add("Div", last, graph.weight(dense.deviation))
    for number, (weights, bias) in enumerate(dense.layers):
        last = graph.add("Gemm", last, graph.weight(weights), graph.weight(bias))
        last = graph.add("Softmax" if number == len(dense.layers) - 1 else "Relu", last)
    return graph.finished(last, "scores", len(dense.layers[-1][1]))


class _Graph:
    """Nodes in their order; each has one output."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def weight(self, values: Array) -> str:
        name = f"w{len(self._weights)}"
        values = values if values.dtype == np.int64 else values.astype(np.float32)
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, *inputs: str, **fixed: Any) -> str:
        name = f"h{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **fixed))
        return name

    def finished(self, last: str, name: str, numbers: int) -> bytes:
        self._nodes.append(helper.make_node("Identity", [last], [name]))
        graph = helper.make_graph(
            self._nodes,
            "keywords",
            [helper.make_tensor_value_info("mfcc", TensorProto.FLOAT, ["batch", FRAMES, COEFFICIENTS])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", numbers])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
