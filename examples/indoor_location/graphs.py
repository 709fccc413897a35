"""The two kinds of model as ONNX: a small network for the device, and a map of all fingerprints for the cloud."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from network import LEAST_LOG_SPREAD, MOST_LOG_SPREAD, Array, Network
from onnx import NodeProto, TensorProto, helper, numpy_helper

NEIGHBOURS, SHARPNESS = 7, 20.0
"""How many fingerprints of the map are asked, and how much more the nearer ones count: chosen on the phones for it."""
LEAST_SPREAD_M = 1.0
"""Neighbours that stand on one spot don't know the place to the centimetre."""


class Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, access_points: int) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[Any] = []
        self._inputs = [helper.make_tensor_value_info("rssi", TensorProto.FLOAT, ["batch", access_points])]

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, output.split(), **attributes))
        return output

    def written(self, outputs: dict[str, int]) -> bytes:
        told = [helper.make_tensor_value_info(each, TensorProto.FLOAT, ["batch", n]) for each, n in outputs.items()]
        graph = helper.make_graph(self._nodes, "indoor_location", self._inputs, told, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _layers(graph: Graph, network: Network) -> str:
    last = "rssi"
    for index, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        if index:
            last = graph.add("Relu", [last], f"relu{index}")
        wanted = [last, _in_bytes(graph, weight, f"w{index}"), graph.constant(f"b{index}", bias)]
        last = graph.add("Gemm", wanted, f"sum{index}")
    return last


def _in_bytes(graph: Graph, weight: Array, name: str) -> str:
    """A byte per weight, and a scale per column: a quarter of the file. It is computed in float32 all the same."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-9) / 127.0
    whole = graph.constant(f"{name}_bytes", np.round(weight / scale), np.int8)
    return graph.add("DequantizeLinear", [whole, graph.constant(f"{name}_scale", scale)], name, axis=1)


def floor_network(network: Network) -> bytes:
    graph = Graph(len(network.weights[0]))
    graph.add("Softmax", [_layers(graph, network)], "scores", axis=1)
    return graph.written({"scores": len(network.biases[-1])})


def position_network(network: Network, middle: Array, unit_m: float, wider: float) -> bytes:
    """Metres, and spreads `wider` times those of the network."""
    graph = Graph(len(network.weights[0]))
    halves = graph.constant("halves", [2, 2], np.int64)
    graph.add("Split", [_layers(graph, network), halves], "place logs", axis=1)
    graph.add("Mul", ["place", graph.constant("unit", [unit_m])], "from_middle")
    graph.add("Add", ["from_middle", graph.constant("middle", middle)], "metres")
    bounds = [graph.constant("least", LEAST_LOG_SPREAD), graph.constant("most", MOST_LOG_SPREAD)]
    graph.add("Clip", ["logs", *bounds], "bounded")
    graph.add("Exp", ["bounded"], "shares")
    graph.add("Mul", ["shares", graph.constant("wider", [unit_m * wider])], "spreads")
    return graph.written({"metres": 2, "spreads": 2})


def _neighbours(graph: Graph, known: Array) -> None:
    """`weights` of shape (batch, 1, neighbours) and their `places` in the map, by the angle between fingerprints."""
    unit = known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-6)
    graph.add("ReduceL2", ["rssi"], "length", axes=[1], keepdims=1)
    graph.add("Max", ["length", graph.constant("tiny", [1e-6])], "some_length")
    graph.add("Div", ["rssi", "some_length"], "direction")
    graph.add("MatMul", ["direction", graph.constant("map", unit.T)], "likeness")
    graph.add("TopK", ["likeness", graph.constant("k", [NEIGHBOURS], np.int64)], "nearest places", axis=1)
    graph.add("Mul", ["nearest", graph.constant("sharpness", [SHARPNESS])], "sharp")
    graph.add("Softmax", ["sharp"], "shares", axis=1)
    graph.add("Unsqueeze", ["shares", graph.constant("one", [1], np.int64)], "weights")


def _mean(graph: Graph, values: Array, name: str) -> str:
    graph.add("Gather", [graph.constant(f"{name}_there", values), "places"], f"{name}_near", axis=0)
    graph.add("MatMul", ["weights", f"{name}_near"], f"{name}_row")
    return graph.add("Squeeze", [f"{name}_row", "one"], name)


def floor_map(known: Array, floors: Array, count: int) -> bytes:
    graph = Graph(known.shape[1])
    _neighbours(graph, known)
    _mean(graph, np.eye(count)[floors], "scores")
    return graph.written({"scores": count})


def position_map(known: Array, metres: Array, wider: float) -> bytes:
    """The spread is that of the neighbours' places, `wider` times."""
    graph = Graph(known.shape[1])
    middle = metres.mean(0)
    _neighbours(graph, known)
    _mean(graph, metres - middle, "off")
    _mean(graph, (metres - middle) ** 2, "squares")
    graph.add("Add", ["off", graph.constant("middle", middle)], "metres")
    graph.add("Mul", ["off", "off"], "off_square")
    graph.add("Sub", ["squares", "off_square"], "variance")
    graph.add("Max", ["variance", graph.constant("least", [LEAST_SPREAD_M**2])], "some_variance")
    graph.add("Sqrt", ["some_variance"], "deviation")
    graph.add("Mul", ["deviation", graph.constant("wider", [wider])], "spreads")
    return graph.written({"metres": 2, "spreads": 2})
