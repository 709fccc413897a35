"""What an ONNX file says about itself, read without running it and without the `onnx` package.

Operators with their domains (in subgraphs and functions too), operator sets, tensors, and what data lies elsewhere.
The field numbers are those of onnx.proto3 (ONNX 1.18, IR version 11), which promises never to change them.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from cascade.adapters.backends.protobuf_walk import Malformed, Value, Walk, numbers_of, text_of

MAX_DEPTH = 32
"""Of graphs inside graphs. An If in a Loop in an If is 3; the deepest seen in a real model was 5."""
MAX_INLINED_NODES = 2_000_000
"""Functions that call functions can double at each level; what they come to when inlined is counted beforehand."""
MAX_AXES = 64
"""Of a tensor. Without it, multiplying a million sizes takes hours: a product has as many digits as all of them."""
MAX_NAME = 4096

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION, _MODEL_IR = 7, 8, 20, 25, 1
_EXTERNAL = 1

_ELEMENT_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 8, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
    16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip


class Operator(NamedTuple):
    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.domain}::{self.name}" if self.domain else self.name


class External(NamedTuple):
    """Where a tensor's numbers lie outside the model file."""

    tensor: str
    location: str
    offset: int
    length: int | None


class Declared(NamedTuple):
    """An input or output of the whole model; None where a size is a word or left open."""

    name: str
    element: int
    shape: tuple[int | None, ...]


class _Function(NamedTuple):
    """A function of the model's own; all overloads of one name together, so that none hides another."""

    calls: Counter[Operator]


class OnnxOutline:
    """The outline of one model. `Malformed` where the bytes are not one."""

    def __init__(self, model: memoryview) -> None:
        self.operators: Counter[Operator] = Counter()
        self.opsets: dict[str, int] = {}
        self.external: list[External] = []
        self.inputs: list[Declared] = []
        self.outputs: list[Declared] = []
        self.largest_tensor_bytes = 0
        self.ir_version = 0
        self.functions: dict[Operator, _Function] = {}
        self._initialised: set[str] = set()
        self._walk = Walk()
        self._read_model(model)
        self.inputs = [declared for declared in self.inputs if declared.name not in self._initialised]

    def inlined_nodes(self) -> int:
        """How many nodes the model has once every call of a function is written out. `Malformed` if that never ends."""
        sizes: dict[Operator, int] = {}
        return self._inlined(self.operators, sizes, ())

    def _inlined(self, calls: Counter[Operator], sizes: dict[Operator, int], above: tuple[Operator, ...]) -> int:
        total = 0
        for operator, times in calls.items():
            function = self.functions.get(operator)
            if function is None:
                total += times
                continue
            if operator in above or len(above) >= MAX_DEPTH:
                raise Malformed(f"function {operator} calls itself, or {MAX_DEPTH} levels of others")
            if operator not in sizes:
                sizes[operator] = self._inlined(function.calls, sizes, (*above, operator))
            total += times * sizes[operator]
        return total

    def _read_model(self, model: memoryview) -> None:
        graphs = 0
        for number, value in self._walk.fields(model):
            if number == _MODEL_GRAPH:
                graphs += 1
                self._read_graph(_message(value), self.operators, 0, outermost=True)
            elif number == _MODEL_OPSET:
                self._read_opset(_message(value))
            elif number == _MODEL_FUNCTION:
                self._read_function(_message(value))
            elif number == _MODEL_TRAINING:
                raise Malformed("it carries a training graph; export it for inference")
            elif number == _MODEL_IR and isinstance(value, int):
                self.ir_version = value
        if graphs != 1 or not self.ir_version:
            raise Malformed("no ONNX model: it has no graph or no version")

    def _read_opset(self, opset: memoryview) -> None:
        domain, version = "", 0
        for number, value in self._walk.fields(opset):
            if number == 1:
                domain = _name(value)
            elif number == 2 and isinstance(value, int):
                version = value
        self.opsets[_standard(domain)] = version

    def _read_function(self, function: memoryview) -> None:
        name, domain, calls = "", "", Counter[Operator]()
        for number, value in self._walk.fields(function):
            if number == 1:
                name = _name(value)
            elif number == 10:
                domain = _name(value)
            elif number == 7:
                self._read_node(_message(value), calls, 1)
            elif number == 11:
                self._read_attribute(_message(value), calls, 1)
        operator = Operator(_standard(domain), name)
        overloads = self.functions.get(operator, _Function(Counter()))
        self.functions[operator] = _Function(overloads.calls + calls)

    def _read_graph(self, graph: memoryview, into: Counter[Operator], depth: int, outermost: bool = False) -> None:
        if depth > MAX_DEPTH:
            raise Malformed(f"graphs inside graphs, {MAX_DEPTH} levels deep")
        for number, value in self._walk.fields(graph):
            if number == 1:
                self._read_node(_message(value), into, depth)
            elif number == 5:
                self._initialised.add(self._read_tensor(_message(value)))
            elif number == 15:
                self._read_sparse(_message(value))
            elif outermost and number == 11:
                self.inputs.append(self._read_declared(_message(value)))
            elif outermost and number == 12:
                self.outputs.append(self._read_declared(_message(value)))

    def _read_node(self, node: memoryview, into: Counter[Operator], depth: int) -> None:
        name, domain = "", ""
        for number, value in self._walk.fields(node):
            if number == 4:
                name = _name(value)
            elif number == 7:
                domain = _name(value)
            elif number == 5:
                self._read_attribute(_message(value), into, depth)
        into[Operator(_standard(domain), name)] += 1

    def _read_attribute(self, attribute: memoryview, into: Counter[Operator], depth: int) -> None:
        for number, value in self._walk.fields(attribute):
            if number in (5, 10):
                self._read_tensor(_message(value))
            elif number in (6, 11):
                self._read_graph(_message(value), into, depth + 1)
            elif number in (22, 23):
                self._read_sparse(_message(value))

    def _read_sparse(self, sparse: memoryview) -> None:
        for number, value in self._walk.fields(sparse):
            if number in (1, 2):
                self._read_tensor(_message(value))

    def _read_tensor(self, tensor: memoryview) -> str:
        name, element, dims, outside, external = "", 0, list[int](), False, dict[str, str]()
        for number, value in self._walk.fields(tensor):
            if number == 1:
                dims += numbers_of(value, MAX_AXES)
                if len(dims) > MAX_AXES:
                    raise Malformed(f"a tensor with more than {MAX_AXES} axes")
            elif number == 2 and isinstance(value, int):
                element = value
            elif number == 8:
                name = _name(value)
            elif number == 13:
                key, text = self._read_entry(_message(value))
                external[key] = text
            elif number == 14:
                outside = outside or value == _EXTERNAL
        if outside or external:
            self.external.append(_external(name, external))
        declared = math.prod(dims) * _ELEMENT_BITS.get(element, 8) // 8
        self.largest_tensor_bytes = max(self.largest_tensor_bytes, declared)
        return name

    def _read_entry(self, entry: memoryview) -> tuple[str, str]:
        texts = {number: _name(value) for number, value in self._walk.fields(entry) if number in (1, 2)}
        return texts.get(1, ""), texts.get(2, "")

    def _read_declared(self, info: memoryview) -> Declared:
        name, element, shape = "", 0, list[int | None]()
        for number, value in self._walk.fields(info):
            if number == 1:
                name = _name(value)
            elif number == 2:
                element, shape = self._read_type(_message(value))
        return Declared(name, element, tuple(shape))

    def _read_type(self, kind: memoryview) -> tuple[int, list[int | None]]:
        element, shape = 0, list[int | None]()
        for number, value in self._walk.fields(kind):
            if number != 1:
                continue
            for inner, part in self._walk.fields(_message(value)):
                if inner == 1 and isinstance(part, int):
                    element = part
                elif inner == 2:
                    shape += [self._read_size(_message(dim)) for n, dim in self._walk.fields(_message(part)) if n == 1]
        return element, shape

    def _read_size(self, dim: memoryview) -> int | None:
        sizes = [value for number, value in self._walk.fields(dim) if number == 1 and isinstance(value, int)]
        return sizes[-1] if sizes else None


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise Malformed("a number where a message belongs")
    return value


def _name(value: Value) -> str:
    if not isinstance(value, int) and len(value) > MAX_NAME:
        raise Malformed(f"a name of {len(value)} bytes")
    return text_of(value)


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _external(name: str, entries: dict[str, str]) -> External:
    try:
        length = int(entries["length"]) if "length" in entries else None
        return External(name, entries.get("location", ""), int(entries.get("offset", "0")), length)
    except ValueError as error:
        raise Malformed(f"tensor {name!r}: external data at no number") from error
