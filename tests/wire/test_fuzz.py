"""Whatever bytes come in, what comes out is words or a `PeerError`: never another exception, never much memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.errors import PeerError
from cascade.messages import Answer, Question
from cascade.wire.codec import (
    FAULT_KINDS,
    decode_down,
    decode_metrics,
    decode_presence,
    decode_up,
    encode_down,
    encode_questions,
    encode_up,
)
from cascade.wire.topics import parse_topic

DECODERS: tuple[Callable[[bytes], object], ...] = (decode_up, decode_down, decode_metrics, decode_presence)
SLOWLY = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def words_or_fault(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except PeerError as fault:
        assert fault.kind in FAULT_KINDS  # noqa: PT017 (either outcome is right)


@SLOWLY
@given(st.binary(max_size=300))
def test_random_bytes_are_words_or_a_fault(data: bytes) -> None:
    for decode in DECODERS:
        words_or_fault(decode, data)
        words_or_fault(decode, b"\x08\x01\x12" + data)


@SLOWLY
@given(st.data())
def test_a_truncated_message_is_words_or_a_fault(words: SimpleNamespace, data: st.DataObject) -> None:
    up = encode_up(data.draw(st.lists(words.questions, max_size=2)), hello="barn.gw1", ping=9)
    down = encode_down(data.draw(st.lists(words.answers, max_size=2)), welcome="cloud", pong=9)
    words_or_fault(decode_up, up[: data.draw(st.integers(0, len(up)))])
    words_or_fault(decode_down, down[: data.draw(st.integers(0, len(down)))])


@SLOWLY
@given(st.data())
def test_a_message_with_flipped_bits_is_words_or_a_fault(words: SimpleNamespace, data: st.DataObject) -> None:
    sent = [encode_up([data.draw(words.questions)]), encode_down([data.draw(words.answers)])]
    for written, decode in zip(sent, (decode_up, decode_down), strict=True):
        flipped = bytearray(written)
        for bit in data.draw(st.lists(st.integers(0, len(flipped) * 8 - 1), min_size=1, max_size=4)):
            flipped[bit // 8] ^= 1 << bit % 8
        words_or_fault(decode, bytes(flipped))


def test_every_single_bit_flip_of_a_message_is_words_or_a_fault(
    a_question: Callable[..., Question], an_answer: Callable[..., Answer]
) -> None:
    for written, decode in ((encode_up([a_question()]), decode_up), (encode_down([an_answer()]), decode_down)):
        for bit in range(len(written) * 8):
            flipped = bytearray(written)
            flipped[bit // 8] ^= 1 << bit % 8
            words_or_fault(decode, bytes(flipped))


@SLOWLY
@given(st.text(max_size=80) | st.text("cascade/v1upon.+#$\x00", max_size=80).map("cascade/v1/".__add__))
def test_any_topic_is_read_or_a_fault(topic: str) -> None:
    try:
        parse_topic(topic)
    except PeerError as fault:
        assert fault.kind in ("topic", "identity")  # noqa: PT017 (either outcome is right)


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes((*parts, number))


@pytest.mark.parametrize(
    "inside", [b"\x3a\x00", b"\x3a\x02\x1a\x00", b"\x3a\x03\x18\xff\x7f"], ids=["tensors", "shapes", "axes"]
)
def test_many_tiny_parts_take_little_memory_and_time(inside: bytes) -> None:
    body = inside * (200_000 // len(inside))
    data = b"\x08\x01" + b"\x12" + varint(len(body)) + body
    tracemalloc.start()
    try:
        assert decode_up(data).faults
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_an_endless_shape_is_refused_before_it_is_multiplied() -> None:
    axes = b"\xff\xff\xff\xff\x0f" * 50_000
    tensor = b"\x12\x05uint8" + b"\x1a" + varint(len(axes)) + axes
    question = b"\x0a\x01q" + b"\x12\x03a.b" + b"\x2a\x01t" + b"\x3a" + varint(len(tensor)) + tensor
    (fault,) = decode_up(b"\x08\x01\x12" + varint(len(question)) + question).faults
    assert (fault.kind, "rank" in fault.detail) == ("tensor", True)


def test_a_fault_does_not_keep_the_bad_message_in_memory(a_question: Callable[..., Question]) -> None:
    for data in (encode_up([a_question(priority=99)]), b"\x08\x01\x12\x01\xff"):
        (fault,) = decode_up(data).faults
        assert (fault.__traceback__, fault.__context__, fault.__cause__) == (None, None, None)


@pytest.mark.slow
def test_hostile_messages_take_little_memory_of_the_process() -> None:
    """Measured from outside: protobuf's memory is not Python's."""
    probe = """
import resource
from cascade.wire.codec import decode_down, decode_up
from cascade.wire.frames import write_frame

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

messages = [
    (decode_up, write_frame([b"\\x3a\\x00" * 130_000] * 16)),
    (decode_up, write_frame([b"\\xf8\\x07\\x01" * 87_000] * 16)),
    (decode_down, write_frame([b"\\xa2\\x01\\x00" * 430_000] * 3)),
    (decode_down, write_frame([b"\\x6a\\x80\\x80\\x40" + b"\\x0a\\x00" * 524_288] * 3)),
]
before = peak()
for decode, message in messages:
    assert decode(message).faults
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 128


def test_a_fault_quotes_only_a_little(a_question: Callable[..., Question]) -> None:
    (fault,) = decode_up(encode_questions([a_question(device="x" * 100_000)])).faults
    assert len(fault.detail) < 200
