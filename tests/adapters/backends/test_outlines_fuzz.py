"""Reading a file's outline ends soon, whatever the bytes: with `Malformed` or with an outline, and nothing else."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.adapters.backends import flatbuffer, protobuf_walk
from cascade.adapters.backends.flatbuffer import Flatbuffer
from cascade.adapters.backends.onnx_outline import OnnxOutline
from cascade.adapters.backends.protobuf_walk import Walk
from cascade.adapters.backends.tflite_outline import TfliteOutline

Read = Callable[[bytes], object]
MOST_S = 2.0
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_onnx(raw: bytes) -> None:
    with suppress(protobuf_walk.Malformed):
        OnnxOutline(memoryview(raw)).inlined_nodes()


def read_tflite(raw: bytes) -> None:
    with suppress(flatbuffer.Malformed):
        TfliteOutline(memoryview(raw))


def mutated(whole: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    """With some bytes overwritten, each change at a share of the length."""
    result = bytearray(whole)
    for at, new in changes:
        place = at % len(whole)
        result[place : place + len(new)] = new
    return bytes(result)


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 100_000),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80" * 10, b"\xff\xff\xff\x7f", b"\x01\0\0\0"]),
        ),
    ),
    min_size=1,
    max_size=12,
)


@MANY
@given(raw=st.binary(max_size=500))
def test_random_bytes_are_no_onnx_model(raw: bytes) -> None:
    read_onnx(raw)


@MANY
@given(raw=st.binary(max_size=500))
def test_random_bytes_are_no_tflite_model(raw: bytes) -> None:
    read_tflite(raw)
    read_tflite(raw[:4] + b"TFL3" + raw[4:])


@MANY
@given(changes=CHANGES)
def test_a_mutated_onnx_file_is_read_or_refused(files: ModuleType, changes: list[tuple[int, bytes]]) -> None:
    for model in (files.linear_onnx(), files.endless_onnx(), files.external_onnx("w.bin", 1, 2)):
        read_onnx(mutated(model.SerializeToString(), changes))


@MANY
@given(changes=CHANGES)
def test_a_mutated_tflite_file_is_read_or_refused(changes: list[tuple[int, bytes]], tflite: bytes) -> None:
    read_tflite(mutated(tflite, changes))


@pytest.fixture(scope="module")
def tflite(files: ModuleType) -> bytes:
    raw: bytes = files.linear_tflite(quantised=True)
    return raw


# A field is a number and a kind; these say nothing, at great length.
EMPTY_FIELDS = b"\x48\x01" * 1_100_000
EMPTY_NODES = b"\x0a\x00" * 1_100_000


def varint(number: int) -> bytes:
    parts = b""
    while number > 0x7F:
        parts, number = parts + bytes([number & 0x7F | 0x80]), number >> 7
    return parts + bytes([number])


@pytest.mark.slow
@pytest.mark.parametrize("graph", [EMPTY_FIELDS, EMPTY_NODES], ids=["fields", "nodes"])
def test_millions_of_empty_parts_end_at_the_budget(graph: bytes) -> None:
    raw = b"\x08\x0a\x3a" + varint(len(graph)) + graph
    started_s = time.thread_time()
    with pytest.raises(protobuf_walk.Malformed, match="more fields than any model has"):
        OnnxOutline(memoryview(raw))
    assert time.thread_time() - started_s < 5 * MOST_S


@pytest.mark.parametrize("form", ["packed", "one by one"])
def test_a_tensor_with_a_million_axes_costs_nothing(form: str) -> None:
    """Their product would have as many digits as all of them, and take hours."""
    size = b"\xff" * 8 + b"\x7f"
    dims = size * 100_000
    tensor = b"\x0a" + varint(len(dims)) + dims if form == "packed" else (b"\x08" + size) * 100_000
    graph = b"\x2a" + varint(len(tensor)) + tensor
    raw = b"\x08\x0a\x3a" + varint(len(graph)) + graph
    _bounded(lambda: read_onnx(raw))


def test_tables_that_share_a_large_list_do_not_multiply_it() -> None:
    """A flatbuffer's tables may all point at one vector: 2,000 tensors that share 100,000 sizes are 200 million."""
    _bounded(lambda: read_tflite(_shared_list(2_000, 100_000)))


def _bounded(read: Callable[[], None]) -> None:
    tracemalloc.start()
    started_s = time.thread_time()
    try:
        read()
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
    assert time.thread_time() - started_s < MOST_S


def _shared_list(tensors: int, sizes: int) -> bytes:
    """Written by hand: no library writes such a thing. root → one graph → many tensors → one table with one list."""
    raw = bytearray(b"\0\0\0\0TFL3")

    def put(*numbers: int) -> int:
        at = len(raw)
        for number in numbers:
            raw.extend(number.to_bytes(4, "little", signed=number < 0))
        return at

    def table(fields: dict[int, int]) -> int:
        """Fields are 32-bit places after the table's own start; each is patched to lead where it should."""
        while len(raw) % 4:
            raw.append(0)
        last = max(fields) + 1
        description = len(raw)
        raw.extend((4 + 2 * last).to_bytes(2, "little") + (4 + 4 * len(fields)).to_bytes(2, "little"))
        order = sorted(fields)
        for index in range(last):
            raw.extend((4 + 4 * order.index(index) if index in fields else 0).to_bytes(2, "little"))
        at = put(len(raw) - description, *[0] * len(fields))
        for place, index in enumerate(order):
            leads = fields[index]
            here = at + 4 + 4 * place
            raw[here : here + 4] = (leads - here).to_bytes(4, "little") if leads > at else leads.to_bytes(4, "little")
        return at

    # Laid out from the front with offsets known beforehand: root, its vectors, the graph, the tensor, the list.
    root = table({0: 3, 2: 1 << 20, 4: 1 << 20})
    raw[0:4] = root.to_bytes(4, "little")
    fields_at = root + 4

    def lead(place: int) -> None:
        raw[place : place + 4] = (len(raw) - place).to_bytes(4, "little")

    lead(fields_at + 8)
    buffers = put(1, 0)
    lead(fields_at + 4)
    graphs = put(1, 0)
    buffer = table({5: 1})
    raw[buffers + 4 : buffers + 8] = (buffer - buffers - 4).to_bytes(4, "little")
    graph = table({0: 1 << 20})
    raw[graphs + 4 : graphs + 8] = (graph - graphs - 4).to_bytes(4, "little")
    lead(graph + 4)
    tensors_at = put(tensors, *[0] * tensors)
    tensor = table({0: 1 << 20})
    for number in range(tensors):
        place = tensors_at + 4 + 4 * number
        raw[place : place + 4] = (tensor - place).to_bytes(4, "little")
    lead(tensor + 4)
    put(sizes)
    raw.extend(b"\x01\0\0\0" * sizes)
    return bytes(raw)


def test_the_file_that_shares_a_list_is_read_up_to_the_budget() -> None:
    """So that the test above tests what it says."""
    assert TfliteOutline(memoryview(_shared_list(3, 64))).largest_tensor_bytes == 4
    with pytest.raises(flatbuffer.Malformed, match="more parts than any model has"):
        TfliteOutline(memoryview(_shared_list(60_000, 64)))
    with pytest.raises(flatbuffer.Malformed, match="a tensor with 100000 axes"):
        TfliteOutline(memoryview(_shared_list(2_000, 100_000)))


def test_the_walkers_count_what_they_are_asked_for() -> None:
    with pytest.raises(protobuf_walk.Malformed):
        list(Walk(3).fields(memoryview(b"\x08\x01" * 4)))
    with pytest.raises(flatbuffer.Malformed):
        Flatbuffer(memoryview(b"\0\0\0\0TFL3" + b"\0" * 99), b"TFL3", max_steps=0).root()
