"""Weights in 16 or 8 bits in the file, in 32 when the model runs: a smaller file, and arithmetic as it was.

For ONNX. Each large tensor of weights becomes a small one behind a Cast, in 8 bits also behind a scale for each of its
output channels; an engine folds both away when it loads the model. What the exporter noted about where each layer comes
from goes too. Needs the extra `compress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

LEAST_ELEMENTS = 256
"""What is smaller (biases, scales) stays as it is: it would save nothing."""
_MOST_IN_EIGHT = 127


def round_weights(path: Path, bits: Literal[8, 16]) -> None:
    """In place. Half of the file, or a quarter; in 8 bits weights move by up to a 254th of the largest of their
    channel, so measure again. Numbers that 16 bits can't hold leave their tensor as it is."""
    model = onnx.load(str(path))
    made: list[Any] = []
    kept: list[Any] = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < LEAST_ELEMENTS or not _fits(array):
            kept.append(tensor)
        elif bits == 16:
            kept.append(numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}_half"))
            made.append(helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT))
        else:
            kept += _in_eight(tensor.name, array)
            made += _from_eight(tensor.name)
    _put(model.graph.initializer, kept)
    _put(model.graph.node, [*made, *model.graph.node])
    _put(model.graph.value_info, [])
    _forget_origins(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _in_eight(name: str, array: Array) -> Iterator[Any]:
    """Its first axis is that of output channels, as convolutions have it, and the layers that torch exports."""
    axes = tuple(range(1, array.ndim))
    scale = np.maximum(np.abs(array).max(axis=axes, keepdims=True), 1e-12) / _MOST_IN_EIGHT
    yield numpy_helper.from_array(np.rint(array / scale).astype(np.int8), f"{name}_eight")
    yield numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale")


def _from_eight(name: str) -> Iterator[Any]:
    yield helper.make_node("Cast", [f"{name}_eight"], [f"{name}_whole"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name])


def _fits(array: Array) -> bool:
    return bool(np.abs(array).max() < np.finfo(np.float16).max)


def _put(field: Any, values: list[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)


def _forget_origins(model: Any) -> None:
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for each in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]
