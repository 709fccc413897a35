"""What a local program says on the ask socket, read from bytes as they come: no socket here.

A request is one line of JSON, and for a question as many raw bytes after it as its line says:

    {"stream": "cam", "tensors": [{"name": "image", "dtype": "float32", "shape": [28, 28]}], "bytes": 3136}
    …3136 bytes: the tensors one after the other, little-endian, rows first…

A question may have `id` (a tag of the asker's own, given back with everything about it), `deadline_ms` and `priority`.
`{"feedback": "<question id>", "label": "yes"}` says what was true of a question, and is answered by whether its answer
was right: `{"feedback": "<question id>", "right": true}` (null: no such answer is kept). `{"health": true}` is answered
by `{"health": {…}}`: see docs/careful.md.
`{"why": "<question id>"}` and `{"why_last": 20}` are answered by `{"why": {"answers": […], …}}`, to whom may know.
A first line `{"client": "doorbell"}` names the asker; `"acks": true` in it announces `{"ack": "<question id>"}` lines.
What is wrong with one question costs that question; where the next line begins can't be known any more, the connection.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from cascade.messages import DTYPES, HIGHEST_PRIORITY, LOWEST_PRIORITY, Payload, Tensor

MAX_LINE_BYTES = 16 * 1024
MAX_TENSORS = 16
MOST_WHY = 1000
"""Questions about which one line may ask."""

Dtype: TypeAlias = Literal[
    "bool", "uint8", "int8", "uint16", "int16", "float16", "uint32", "int32", "float32", "uint64", "int64", "float64"
]


class TensorLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor of a question."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    dtype: Dtype
    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=1 << 31)], ...], Meta(max_length=8)]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype]


class RequestLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Any line of a client. Which one it is, is told by the fields that are there."""

    stream: Annotated[str, Meta(max_length=64)] = ""
    tensors: Annotated[tuple[TensorLine, ...], Meta(max_length=MAX_TENSORS)] = ()
    bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    id: Annotated[str, Meta(max_length=64)] = ""
    deadline_ms: Annotated[float, Meta(gt=0, le=86_400_000)] | None = None
    priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] | None = None
    client: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,64}\Z")] | None = None
    acks: bool = False
    ack: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    why: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    why_last: Annotated[int, Meta(ge=1, le=MOST_WHY)] | None = None
    feedback: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    label: Annotated[str, Meta(max_length=256)] | float | Annotated[tuple[float, ...], Meta(max_length=64)] | None = (
        None
    )
    health: bool = False


class Hello(NamedTuple):
    """The asker says who it is."""

    client: str
    acks: bool


class Ack(NamedTuple):
    """The asker has done with this answer."""

    id: str


class Why(NamedTuple):
    """What was given to this question; or, without an id, to the last so many."""

    id: str
    last: int


class Labelled(NamedTuple):
    """What was true of a question."""

    id: str
    label: str | float | tuple[float, ...]


class HealthAsked(NamedTuple):
    """How the agent is."""


class AskRequest(NamedTuple):
    """A question."""

    stream: str
    payload: Payload
    tag: str
    deadline_ms: float | None
    priority: int | None


class Fault(NamedTuple):
    """A request that can't be taken. `fatal`: nothing behind it can be read either."""

    kind: str
    detail: str
    tag: str = ""
    fatal: bool = False


Request: TypeAlias = Hello | Ack | Why | Labelled | HealthAsked | AskRequest | Fault


class RequestReader:
    """Bytes in, requests out. Holds at most one line and one body."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._line: RequestLine | None = None
        self._searched = 0
        self._dead = False

    @property
    def partial(self) -> bool:
        """A request has begun and not ended."""
        return bool(self._buffer) or self._line is not None

    def feed(self, data: bytes) -> list[Request]:
        if self._dead:
            return []
        self._buffer += data
        requests: list[Request] = []
        while (request := self._next()) is not None:
            requests.append(request)
            if isinstance(request, Fault) and request.fatal:
                self._dead = True
                self._buffer.clear()
                self._line = None
                break
        return requests

    def _next(self) -> Request | None:
        if self._line is None:
            read = self._read_line()
            if not isinstance(read, RequestLine):
                return read
            if read.client is not None:
                return Hello(read.client, read.acks)
            if read.ack is not None:
                return Ack(read.ack)
            if read.why is not None or read.why_last is not None:
                return Why(read.why or "", read.why_last or 1)
            if read.feedback is not None and read.label is not None:
                return Labelled(read.feedback, read.label)
            if read.health:
                return HealthAsked()
            if read.bytes > self._max_bytes:
                return Fault("too_large", f"{read.bytes} bytes, more than {self._max_bytes}", read.id, fatal=True)
            self._line = read
        return self._read_body(self._line)

    def _read_line(self) -> RequestLine | Fault | None:
        end = self._buffer.find(b"\n", self._searched)
        if end > MAX_LINE_BYTES or (end < 0 and len(self._buffer) > MAX_LINE_BYTES):
            return Fault("bad_request", f"a line of more than {MAX_LINE_BYTES} bytes", fatal=True)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        raw = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        try:
            return _lines.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Fault("bad_request", str(error)[:200], fatal=True)

    def _read_body(self, line: RequestLine) -> AskRequest | Fault | None:
        if len(self._buffer) < line.bytes:
            return None
        body = bytes(memoryview(self._buffer)[: line.bytes])
        del self._buffer[: line.bytes]
        self._line = None
        wrong = _mistake(line)
        if wrong:
            return Fault("bad_input", wrong, line.id)
        return AskRequest(line.stream, _payload(line.tensors, body), line.id, line.deadline_ms, line.priority)


_lines = msgspec.json.Decoder(RequestLine)


def _mistake(line: RequestLine) -> str:
    wanted = sum(tensor.bytes for tensor in line.tensors)
    if not line.stream or not line.tensors:
        return "a question needs a stream and tensors"
    if wanted != line.bytes:
        return f"the tensors have {wanted} bytes, the line says {line.bytes}"
    if len({tensor.name for tensor in line.tensors}) != len(line.tensors):
        return "two tensors have one name"
    return ""


def _payload(tensors: tuple[TensorLine, ...], body: bytes) -> Payload:
    payload, at = list[Tensor](), 0
    for tensor in tensors:
        payload.append(Tensor(tensor.name, tensor.dtype, tensor.shape, body[at : at + tensor.bytes]))
        at += tensor.bytes
    return tuple(payload)


def accepted_line(question_id: str, tag: str, safe: bool = True) -> bytes:
    """`safe`: what the stream's durability promises holds for this question."""
    return (
        msgspec.json.encode({"accepted": question_id, **_tagged(tag), **({} if safe else {"durable": False})}) + b"\n"
    )


def error_line(fault: Fault) -> bytes:
    return msgspec.json.encode({"error": fault.kind, "detail": fault.detail, **_tagged(fault.tag)}) + b"\n"


def _tagged(tag: str) -> dict[str, str]:
    return {"tag": tag} if tag else {}
