"""The CNN of the comparisons as a .tflite file: the same layers and the same number of weights, for one sample.

Written by the schema that LiteRT brings along, so that no converter has to be installed.
"""

from __future__ import annotations

from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from benchmarks.models import CLASSES, PIXEL, SIDE

INPUT, SCORES = "image", "scores"
Codes = schema.BuiltinOperator


class _Writer:
    """Tensors and operators in the order in which they are added."""

    def __init__(self) -> None:
        self._graph, self._model = schema.SubGraphT(), schema.ModelT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.buffers, self._codes = [schema.BufferT()], list[int]()

    def flow(self, name: str, *shape: int) -> int:
        return self._tensor(name, shape, schema.TensorType.FLOAT32, 0)

    def weight(self, name: str, values: Any) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        return self._tensor(name, values.shape, kind, len(self._model.buffers) - 1)

    def operate(self, code: int, inputs: list[int], output: int, options: Any, kind: int) -> int:
        operator = schema.OperatorT()
        if code not in self._codes:
            self._codes.append(code)
        operator.opcodeIndex, operator.inputs, operator.outputs = self._codes.index(code), inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self._graph.operators.append(operator)
        return output

    def file(self, first: int, last: int) -> bytes:
        self._graph.inputs, self._graph.outputs = [first], [last]
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.operatorCodes = [_code(code) for code in self._codes]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def tflite_cnn(tier: str) -> bytes:
    chance, writer = np.random.default_rng(1), _Writer()

    def chances(*shape: int, scale: float = 0.1) -> Any:
        return (chance.standard_normal(shape) * scale).astype(np.float32)

    image = writer.flow(INPUT, 1, SIDE, SIDE)
    x = _reshaped(writer, image, "x", 1, SIDE, SIDE, 1)
    x = _pooled(writer, _convolved(writer, x, "c1", chances(16, 3, 3, 1), SIDE), "p1", SIDE // 2, 16)
    x = _pooled(writer, _convolved(writer, x, "c2", chances(32, 3, 3, 16), SIDE // 2), "p2", SIDE // 4, 32)
    features = _reshaped(writer, x, "f", 1, 32 * (SIDE // 4) ** 2)
    hidden = _dense(writer, features, "d1", chances(60, 32 * (SIDE // 4) ** 2), relu=True)
    tiny = _dense(writer, hidden, "d2", chances(CLASSES, 60, scale=1e-7))
    pick = np.zeros((CLASSES, SIDE * SIDE), np.float32)
    pick[3, PIXEL[tier]] = 9.0
    chosen = _dense(writer, _reshaped(writer, image, "row", 1, SIDE * SIDE), "pick", pick)
    logits = writer.flow("logits", 1, CLASSES)
    writer.operate(Codes.ADD, [tiny, chosen], logits, schema.AddOptionsT(), schema.BuiltinOptions.AddOptions)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    scores = writer.flow(SCORES, 1, CLASSES)
    writer.operate(Codes.SOFTMAX, [logits], scores, softmax, schema.BuiltinOptions.SoftmaxOptions)
    return writer.file(image, scores)


def _convolved(writer: _Writer, x: int, name: str, weights: Any, side: int) -> int:
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, schema.ActivationFunctionType.RELU
    channels = weights.shape[0]
    inputs = [x, writer.weight(name, weights), writer.weight(f"{name}-bias", np.zeros(channels, np.float32))]
    made = writer.flow(f"{name}-out", 1, side, side, channels)
    return writer.operate(Codes.CONV_2D, inputs, made, options, schema.BuiltinOptions.Conv2DOptions)


def _pooled(writer: _Writer, x: int, name: str, side: int, channels: int) -> int:
    options = schema.Pool2DOptionsT()
    options.strideW = options.strideH = options.filterWidth = options.filterHeight = 2
    options.padding = schema.Padding.VALID
    made = writer.flow(name, 1, side, side, channels)
    return writer.operate(Codes.MAX_POOL_2D, [x], made, options, schema.BuiltinOptions.Pool2DOptions)


def _dense(writer: _Writer, x: int, name: str, weights: Any, relu: bool = False) -> int:
    options = schema.FullyConnectedOptionsT()
    if relu:
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    units = weights.shape[0]
    inputs = [x, writer.weight(name, weights), writer.weight(f"{name}-bias", np.zeros(units, np.float32))]
    made = writer.flow(f"{name}-out", 1, units)
    return writer.operate(Codes.FULLY_CONNECTED, inputs, made, options, schema.BuiltinOptions.FullyConnectedOptions)


def _reshaped(writer: _Writer, x: int, name: str, *shape: int) -> int:
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    inputs = [x, writer.weight(f"{name}-shape", np.array(shape, np.int32))]
    made = writer.flow(name, *shape)
    return writer.operate(Codes.RESHAPE, inputs, made, options, schema.BuiltinOptions.ReshapeOptions)


def _code(code: int) -> Any:
    made = schema.OperatorCodeT()
    made.version, made.builtinCode, made.deprecatedBuiltinCode = 1, code, min(code, 127)
    return made
