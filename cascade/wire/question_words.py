"""A question as protobuf, and back. A tensor stays as it travels: a hop that only passes it on copies bytes.

Most of what a question says it says again and again (who, what of, what for, which shape). That part is written and
checked once and looked up after: protobuf takes the fields of a message in any order, in as many pieces as there are.
"""

from __future__ import annotations

import math
from functools import lru_cache

from google.protobuf.message import DecodeError

from cascade.errors import PeerError
from cascade.messages import (
    DTYPES,
    HIDDEN_DIGEST_BYTES,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    Answer,
    Outcome,
    Payload,
    Question,
    Tensor,
    answer_to,
)
from cascade.wire.content import ENCODINGS
from cascade.wire.frames import head
from cascade.wire.limits import Limits, check_given, check_name, quoted
from cascade.wire.topics import check_device_name
from cascade.wire.v1 import cascade_pb2 as pb

MALFORMED = "malformed"
"""The reason in an answer to a question that could not be read."""

_PAYLOAD_TAG = 7 << 3 | 2
_DATA_TAG = 4 << 3 | 2


def write_question(question: Question) -> bytes:
    """One question's bytes, without the message around it."""
    parts = [
        _written_again_and_again(
            question.device, question.stream, question.task, question.release, question.stage, question.priority,
            question.audit, question.hidden,
        ),
        pb.Question(
            id=question.id,
            sequence=question.sequence,
            ms_left=question.ms_left,
            digest=question.digest,
            age_ms=question.age_ms,
            keep_ms=question.keep_ms,
        ).SerializeToString(),
    ]  # fmt: skip
    for tensor in question.payload:
        described = _written_description(tensor.name, tensor.dtype, tensor.shape, tensor.encoding)
        before_data = head(_DATA_TAG, len(tensor.data))
        size = len(described) + len(before_data) + len(tensor.data)
        parts += (head(_PAYLOAD_TAG, size), described, before_data, tensor.data)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _written_again_and_again(
    device: str, stream: str, task: str, release: str, stage: str, priority: int, audit: bool, hidden: bytes
) -> bytes:
    return pb.Question(
        device=device, stream=stream, task=task, release=release, stage=stage, priority=priority, audit=audit,
        hidden=hidden,
    ).SerializeToString()  # fmt: skip


@lru_cache(maxsize=1024)
def _written_description(name: str, dtype: str, shape: tuple[int, ...], encoding: str) -> bytes:
    return pb.Tensor(
        name=name, dtype=dtype, shape=shape, encoding="" if encoding == "raw" else encoding
    ).SerializeToString()


def read_question(data: bytes, limits: Limits) -> Question:
    return _checked(_parsed(data), limits)


def refusal_of(question: Question, reason: str, retry_ms: float | None = None) -> Answer:
    """What the asker of a question is told that is not taken."""
    return answer_to(question, Outcome.REFUSED, reason, retry_ms=retry_ms)


def refusal_of_unread(data: bytes, limits: Limits) -> Answer | None:
    """What the asker of an unreadable question can be told, if at least the question's own name can be read."""
    max_text = limits.max_text
    try:
        read = _parsed(data)
        if len(read.digest) > limits.max_digest_bytes:
            return None
        return Answer(
            id=check_given("id", read.id, max_text),
            device=check_device_name(read.device),
            digest=read.digest,
            stream=check_name("stream", read.stream, max_text),
            sequence=read.sequence,
            task=check_name("task", read.task, max_text),
            release=check_name("release", read.release, max_text),
            outcome=Outcome.REFUSED,
            reason=MALFORMED,
        )
    except PeerError:
        return None


def _parsed(data: bytes) -> pb.Question:
    try:
        return pb.Question.FromString(data)
    except DecodeError as error:
        raise PeerError("unparseable", f"a question: {error}") from None


def _checked(read: pb.Question, limits: Limits) -> Question:
    device, stream, task, release, stage = read.device, read.stream, read.task, read.release, read.stage
    _check_names(device, stream, task, release, stage, limits.max_text)
    ms_left, age_ms, keep_ms, priority, digest = read.ms_left, read.age_ms, read.keep_ms, read.priority, read.digest
    if not (0.0 <= ms_left < math.inf and 0.0 <= age_ms < math.inf and 0.0 <= keep_ms < math.inf):
        raise PeerError("number", f"ms_left {ms_left!r}, age_ms {age_ms!r}, keep_ms {keep_ms!r}")
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise PeerError("number", f"priority: {priority}")
    if len(digest) > limits.max_digest_bytes:
        raise PeerError("size", f"digest: {len(digest)} bytes")
    if len(read.hidden) not in (0, HIDDEN_DIGEST_BYTES):
        raise PeerError("size", f"hidden: {len(read.hidden)} bytes")
    return Question(
        id=check_given("id", read.id, limits.max_text),
        device=device,
        stream=stream,
        sequence=read.sequence,
        task=task,
        release=release,
        payload=_payload(read, limits),
        ms_left=ms_left,
        digest=digest,
        stage=stage,
        priority=priority,
        age_ms=age_ms,
        keep_ms=keep_ms,
        audit=read.audit,
        hidden=read.hidden,
    )


@lru_cache(maxsize=4096)
def _check_names(device: str, stream: str, task: str, release: str, stage: str, max_text: int) -> None:
    check_device_name(device)
    check_name("stream", stream, max_text)
    check_given("task", task, max_text)
    check_name("release", release, max_text)
    check_name("stage", stage, max_text)


def _payload(question: pb.Question, limits: Limits) -> Payload:
    tensors = question.payload
    if len(tensors) > limits.max_tensors:
        raise PeerError("count", f"{len(tensors)} tensors, at most {limits.max_tensors} are taken")
    payload, room = [], limits.max_raw_bytes
    for read in tensors[:]:
        name, dtype, shape, data, encoding = read.name, read.dtype, tuple(read.shape[:]), read.data, read.encoding
        if len(shape) > limits.max_rank or len(name) > limits.max_text:
            raise PeerError("tensor", f"rank {len(shape)}, a name of {len(name)} characters")
        elements, declared = _declared(name, dtype, shape, encoding)
        if elements > limits.max_elements:
            raise PeerError("size", f"a tensor of {elements} elements, at most {limits.max_elements} are taken")
        room -= declared
        if room < 0:
            raise PeerError("size", f"more than {limits.max_raw_bytes} bytes declared")
        if len(data) != declared and encoding in ("", "raw"):
            raise PeerError("tensor", f"{declared} bytes declared, {len(data)} there")
        payload.append(Tensor(name, dtype, shape, data, encoding or "raw"))
    if len(payload) > 1 and len({tensor.name for tensor in payload}) < len(payload):
        raise PeerError("tensor", "two tensors of one name")
    return tuple(payload)


@lru_cache(maxsize=1024)
def _declared(name: str, dtype: str, shape: tuple[int, ...], encoding: str) -> tuple[int, int]:
    """How many elements and raw bytes a tensor says that it has."""
    size = DTYPES.get(dtype)
    if size is None or not name.isprintable():
        raise PeerError("tensor", f"dtype {quoted(dtype)}, name {quoted(name)}")
    if encoding and encoding not in ENCODINGS:
        raise PeerError("encoding", quoted(encoding))
    elements = math.prod(shape)
    return elements, elements * size
