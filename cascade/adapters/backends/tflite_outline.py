"""What a .tflite file says about itself: operators, tensors and buffers, read without running it.

The numbers of the fields are those of TensorFlow Lite's schema.fbs (version 3), which only ever adds to them.
"""

from __future__ import annotations

import math
from collections import Counter

from cascade.adapters.backends.flatbuffer import Flatbuffer, Malformed, Table

IDENTIFIER = b"TFL3"
ALLOWED_CUSTOM = frozenset({"TFLite_Detection_PostProcess"})
"""Custom operators that the runtime itself brings. Every other one means code from elsewhere."""

MAX_AXES = 64
"""Of a tensor. Without it, multiplying a million sizes takes hours: a product has as many digits as all of them."""

_CUSTOM = 32
_ELEMENT_BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 5: 8, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64,
    13: 8, 14: 8, 15: 32, 16: 16, 17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8,
}  # fmt: skip


class TfliteOutline:
    """The outline of one model. `Malformed` where the bytes are not one."""

    def __init__(self, model: memoryview) -> None:
        self._file = Flatbuffer(model, IDENTIFIER)
        self.custom: Counter[str] = Counter()
        self.operators: Counter[int] = Counter()
        self.largest_tensor_bytes = 0
        root = self._file.root()
        if self._file.scalar(root, 0, "<I") != 3:
            raise Malformed("not version 3 of the format")
        if self._file.vector(root, 8, 4)[1] or self._file.vector(root, 9, 4)[1]:
            raise Malformed("weights in files outside it")
        codes = [self._code(code) for code in self._file.tables(root, 1)]
        buffers = [self._buffer(buffer) for buffer in self._file.tables(root, 4)]
        graphs = self._file.tables(root, 2)
        if not graphs:
            raise Malformed("no graph")
        for graph in graphs:
            self._read_graph(graph, codes, len(buffers))

    def _code(self, code: Table) -> tuple[int, str]:
        builtin = max(self._file.scalar(code, 0, "<b"), self._file.scalar(code, 3, "<i"))
        return builtin, self._file.text(code, 1) if builtin == _CUSTOM else ""

    def _buffer(self, buffer: Table) -> int:
        """Its bytes; those of files over 2 GB lie behind the flatbuffer, at an offset from the file's start."""
        _, size = self._file.vector(buffer, 0, 1)
        offset, length = self._file.scalar(buffer, 1, "<Q"), self._file.scalar(buffer, 2, "<Q")
        if offset > 1 and offset + length > len(self._file.data):
            raise Malformed(f"a buffer at {offset}, past the end of the file")
        return max(size, length)

    def _read_graph(self, graph: Table, codes: list[tuple[int, str]], buffers: int) -> None:
        tensors = self._file.tables(graph, 0)
        for tensor in tensors:
            self._read_tensor(tensor, buffers)
        self._check_indices(self._file.numbers(graph, 1), len(tensors), "an input")
        self._check_indices(self._file.numbers(graph, 2), len(tensors), "an output")
        for operator in self._file.tables(graph, 3):
            self._read_operator(operator, codes, len(tensors))

    def _read_tensor(self, tensor: Table, buffers: int) -> None:
        if self._file.scalar(tensor, 10, "<I"):
            raise Malformed("a tensor whose numbers lie in another file")
        if self._file.scalar(tensor, 2, "<I") >= buffers:
            raise Malformed("a tensor whose numbers are in no buffer")
        shape = self._file.numbers(tensor, 0)
        if len(shape) > MAX_AXES:
            raise Malformed(f"a tensor with {len(shape)} axes")
        if any(size < 0 for size in shape):
            raise Malformed(f"a tensor of shape {shape}")
        bits = _ELEMENT_BITS.get(self._file.scalar(tensor, 1, "<b"), 8)
        self.largest_tensor_bytes = max(self.largest_tensor_bytes, math.prod(shape) * bits // 8)

    def _read_operator(self, operator: Table, codes: list[tuple[int, str]], tensors: int) -> None:
        index = self._file.scalar(operator, 0, "<I")
        if index >= len(codes):
            raise Malformed("an operator that is not in the list of operators")
        builtin, custom = codes[index]
        self.operators[builtin] += 1
        if builtin == _CUSTOM:
            self.custom[custom] += 1
        self._check_indices(self._file.numbers(operator, 1), tensors, "an operator's input")
        self._check_indices(self._file.numbers(operator, 2), tensors, "an operator's output")

    def _check_indices(self, indices: tuple[int, ...], tensors: int, what: str) -> None:
        """-1 stands for an optional input that isn't given."""
        if any(index < -1 or index >= tensors for index in indices):
            raise Malformed(f"{what} that is no tensor")
