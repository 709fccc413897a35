"""What is written of a question, how it is checked when it is read, and what it takes on disk.

A question is two values: its head (everything but the payload, with the address of who asked), and its payload, so
that an eviction need not read what it throws away. Each value ends with a checksum: a flipped bit costs one row.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import msgspec

from cascade.inference.events import Asked, Durability
from cascade.messages import HIGHEST_PRIORITY, Answer, Key, Payload, Question

SCHEMA = 1
"""Of the tables and of the values in them. A file of another schema is moved aside like a broken one."""

PAGE_BYTES = 4096
PLACES_OF_A_PRIORITY = 1 << 48
_CHECKSUM_BYTES = 4
_ROW_OVERHEAD_BYTES = 96


class BrokenRow(Exception):
    """A value on disk is not what was written. Never leaves the spool."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """A question without its payload, and where its answers go."""

    question: Question
    back: str
    sync: bool


class Restored(NamedTuple):
    """A question as it comes back from disk."""

    question: Question
    """Older by the time that it lay on disk, and with as much less left. Without payload where there is an answer."""
    back: str
    durability: Durability
    answer: Answer | None = None
    """The final answer that was recorded: to be given again, and marked as repeated, without asking anybody."""

    def asked(self) -> Asked:
        """The event that puts it into the hop."""
        earlier = self.answer and msgspec.structs.replace(self.answer, repeated=True)
        return Asked(self.question, self.back, self.durability, restored=True, earlier=earlier)


def tag_of(key: Key) -> int:
    """64 bits that stand for a key. That two of 100,000 share theirs has a chance of 3e-10: then one is not written."""
    said = blake2b(f"{key.device}\0{key.id}\0".encode(), digest_size=8)
    said.update(key.digest)
    return int.from_bytes(said.digest(), "little", signed=True)


def place_of(priority: int, sequence: int) -> int:
    """Where a row stands: ascending places are descending value, so the table's own order is the order of loading."""
    return first_place(priority) | sequence


def first_place(priority: int) -> int:
    return (HIGHEST_PRIORITY - max(0, min(priority, HIGHEST_PRIORITY))) * PLACES_OF_A_PRIORITY


def sequence_of(place: int) -> int:
    return place % PLACES_OF_A_PRIORITY


def pack_head(question: Question, back: str, sync: bool) -> bytes:
    return _sealed(_encode(Head(msgspec.structs.replace(question, payload=()), back, sync)))


def pack_payload(payload: Payload) -> bytes:
    return _sealed(_encode(payload))


def pack_answer(answer: Answer) -> bytes:
    return _sealed(_encode(answer))


def unpack_head(raw: object) -> Head:
    return _opened(raw, _heads)


def unpack_payload(raw: object) -> Payload:
    return _opened(raw, _payloads)


def unpack_answer(raw: object) -> Answer:
    return _opened(raw, _answers)


def disk_bytes(value_bytes: int) -> int:
    """What a row takes of the file: rows share a page where they fit, and have whole pages where they don't."""
    row_bytes = value_bytes + _ROW_OVERHEAD_BYTES
    in_one_page = PAGE_BYTES // row_bytes
    return PAGE_BYTES // in_one_page if in_one_page else -(-row_bytes // PAGE_BYTES) * PAGE_BYTES


def restored(head: Head, payload: Payload, answer: Answer | None, elapsed_ms: float) -> Restored:
    """The question after so long on disk: what its deadline doesn't cover is taken from the time for corrections."""
    question, elapsed_ms = head.question, max(0.0, elapsed_ms)
    beyond_ms = max(0.0, elapsed_ms - question.ms_left)
    aged = msgspec.structs.replace(
        question,
        payload=payload,
        ms_left=max(0.0, question.ms_left - elapsed_ms),
        keep_ms=max(0.0, question.keep_ms - beyond_ms),
        age_ms=question.age_ms + elapsed_ms,
    )
    return Restored(aged, head.back, Durability.SYNCED if head.sync else Durability.BATCHED, answer)


Value = TypeVar("Value")
_encode = msgspec.msgpack.Encoder().encode
_heads = msgspec.msgpack.Decoder(Head)
_payloads = msgspec.msgpack.Decoder(Payload)
_answers = msgspec.msgpack.Decoder(Answer)


def _sealed(raw: bytes) -> bytes:
    return raw + zlib.crc32(raw).to_bytes(_CHECKSUM_BYTES, "little")


def _opened(raw: object, decoder: msgspec.msgpack.Decoder[Value]) -> Value:
    if not isinstance(raw, bytes) or len(raw) < _CHECKSUM_BYTES:
        raise BrokenRow("no bytes")
    said = memoryview(raw)[:-_CHECKSUM_BYTES]
    if zlib.crc32(said) != int.from_bytes(raw[-_CHECKSUM_BYTES:], "little"):
        raise BrokenRow("checksum")
    try:
        return decoder.decode(said)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BrokenRow(str(error)) from error
