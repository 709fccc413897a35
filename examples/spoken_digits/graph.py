"""A model in ONNX, written node by node: what all networks of this example are made into."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
FED = "spectrum"


class Graph:
    """From `spectrum` (batch, …) to one output. Nodes stand in their order, and each has one output."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def weight(self, values: Any) -> str:
        """Numbers that are part of the model: float32, or whole ones where they are whole (shapes)."""
        kind = np.int64 if np.asarray(values).dtype.kind == "i" else np.float32
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return name

    def add(self, kind: str, *inputs: str, **fixed: Any) -> str:
        name = f"h{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **fixed))
        return name

    def finished(self, last: str, name: str, fed: tuple[int, ...], numbers: int) -> bytes:
        self._nodes.append(helper.make_node("Identity", [last], [name]))
        graph = helper.make_graph(
            self._nodes,
            "spoken-digits",
            [helper.make_tensor_value_info(FED, TensorProto.FLOAT, ["batch", *fed])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", numbers])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
