"""A model in ONNX, written node by node: what all networks of this example are made into."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
SPECTRUM, SOUND = "spectrum", "sound"
"""What a model may be fed with: log-mel spectra (batch, frames, bands), and the numbers that they are made of."""


class Graph:
    """Nodes stand in their order, and each has one output."""

    def __init__(self) -> None:
        self.inputs: dict[str, tuple[int, ...]] = {}
        """Their shapes, without the batch."""
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def fed(self, name: str, shape: tuple[int, ...]) -> str:
        """An input. Several networks may hear the same one."""
        assert self.inputs.setdefault(name, shape) == shape
        return name

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

    def part(self, of: str, axis: int, begin: int, end: int) -> str:
        return self.add("Slice", of, *(self.weight([each]) for each in (begin, end, axis)))

    def finished(self, last: str, name: str, *shape: int) -> bytes:
        """`shape`: of the output, without the batch."""
        self._nodes.append(helper.make_node("Identity", [last], [name]))
        graph = helper.make_graph(
            self._nodes,
            "spoken-digits",
            [_numbers(each, fed) for each, fed in self.inputs.items()],
            [_numbers(name, shape)],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _numbers(name: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
