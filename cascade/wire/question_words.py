"""A question as protobuf, and back. A tensor stays as it travels: a hop that only passes it on copies bytes."""

from __future__ import annotations

import math

from google.protobuf.message import DecodeError

from cascade.errors import PeerError
from cascade.messages import DTYPES, HIGHEST_PRIORITY, LOWEST_PRIORITY, Answer, Outcome, Payload, Question, Tensor
from cascade.wire.content import ENCODINGS
from cascade.wire.limits import Limits, check_amount, check_given, check_known_name, check_name, check_text, quoted
from cascade.wire.topics import check_device_name
from cascade.wire.v1 import cascade_pb2 as pb

MALFORMED = "malformed"
"""The reason in an answer to a question that could not be read."""


def write_question(question: Question) -> bytes:
    """One question's bytes, without the message around it."""
    return pb.Question(
        id=question.id,
        device=question.device,
        stream=question.stream,
        sequence=question.sequence,
        task=question.task,
        release=question.release,
        payload=[
            pb.Tensor(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=tensor.shape,
                data=tensor.data,
                encoding="" if tensor.encoding == "raw" else tensor.encoding,
            )
            for tensor in question.payload
        ],
        ms_left=question.ms_left,
        digest=question.digest,
        stage=question.stage,
        priority=question.priority,
        age_ms=question.age_ms,
        keep_ms=question.keep_ms,
        audit=question.audit,
    ).SerializeToString()


def read_question(data: bytes, limits: Limits) -> Question:
    return _checked(_parsed(data), limits)


def refusal(data: bytes, limits: Limits) -> Answer | None:
    """What the asker of an unreadable question can be told, if at least the question's own name can be read."""
    try:
        read = _parsed(data)
        if len(read.digest) > limits.max_digest_bytes:
            return None
        return Answer(
            id=check_given("id", read.id, limits),
            device=check_device_name(read.device),
            digest=read.digest,
            stream=check_name("stream", read.stream, limits),
            sequence=read.sequence,
            task=check_name("task", read.task, limits),
            release=check_name("release", read.release, limits),
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
    priority, digest = read.priority, read.digest
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise PeerError("number", f"priority: {priority}")
    if len(digest) > limits.max_digest_bytes:
        raise PeerError("size", f"digest: {len(digest)} bytes")
    return Question(
        id=check_given("id", read.id, limits),
        device=check_device_name(read.device),
        stream=check_known_name("stream", read.stream, limits),
        sequence=read.sequence,
        task=check_given("task", read.task, limits),
        release=check_known_name("release", read.release, limits),
        payload=_payload(read, limits),
        ms_left=check_amount("ms_left", read.ms_left),
        digest=digest,
        stage=check_known_name("stage", read.stage, limits),
        priority=priority,
        age_ms=check_amount("age_ms", read.age_ms),
        keep_ms=check_amount("keep_ms", read.keep_ms),
        audit=read.audit,
    )


def _payload(read: pb.Question, limits: Limits) -> Payload:
    tensors = read.payload
    if len(tensors) == 1:
        tensor, _ = _tensor(tensors[0], limits, limits.max_raw_bytes)
        return (tensor,)
    if len(tensors) > limits.max_tensors:
        raise PeerError("count", f"{len(tensors)} tensors, at most {limits.max_tensors} are taken")
    payload, room = [], limits.max_raw_bytes
    for each in tensors:
        tensor, room = _tensor(each, limits, room)
        payload.append(tensor)
    if len({tensor.name for tensor in payload}) < len(payload):
        raise PeerError("tensor", "two tensors of one name")
    return tuple(payload)


def _tensor(read: pb.Tensor, limits: Limits, room: int) -> tuple[Tensor, int]:
    """The tensor, and how many raw bytes its question may still declare after it."""
    dtype, shape, data, encoding = read.dtype, tuple(read.shape), read.data, read.encoding or "raw"
    size = DTYPES.get(dtype)
    if size is None or len(shape) > limits.max_rank:
        raise PeerError("tensor", f"dtype {quoted(dtype)}, rank {len(shape)}")
    if encoding not in ENCODINGS:
        raise PeerError("encoding", quoted(encoding))
    elements = math.prod(shape)
    declared = elements * size
    if elements > limits.max_elements or declared > room:
        raise PeerError("size", f"a tensor of {elements} elements, {declared} bytes")
    if encoding == "raw" and len(data) != declared:
        raise PeerError("tensor", f"{declared} bytes declared, {len(data)} there")
    return Tensor(check_text("tensor's name", read.name, limits), dtype, shape, data, encoding), room - declared
