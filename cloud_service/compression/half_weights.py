"""Weights in 16 bits in the file, in 32 when the model runs: half the size, and the arithmetic stays what it was.

For ONNX. Each large tensor of weights becomes a 16-bit one behind a Cast, which an engine folds away when it loads the
model. Needs `pip install 'cascade-runtime[compress]'`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST_ELEMENTS = 256
"""What is smaller (biases, scales) stays as it is: it would save nothing."""


def halve_weights(path: Path) -> None:
    """In place. Numbers beyond what 16 bits hold (65,504) leave their tensor as it is."""
    model = onnx.load(str(path))
    casts, kept = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < LEAST_ELEMENTS or not _fits(array):
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}_half"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _fits(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bool:
    return bool(np.abs(array).max() < np.finfo(np.float16).max)
