"""One client of the ask socket, as the agent sees it: what it sends, how fast, and whether it reads its answers."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from edge_agent.ask_protocol import (
    Ack,
    AskRequest,
    Fault,
    HealthAsked,
    Hello,
    Labelled,
    Request,
    RequestReader,
    Why,
    error_line,
)

if TYPE_CHECKING:
    from edge_agent.settings import AskSocketTable

Served = TypeVar("Served", AskRequest, Why, Labelled, HealthAsked)

MAX_UNREAD_BYTES = 1024 * 1024
"""Of answers that a client doesn't read; then it is disconnected."""
FAULTS_COUNTED_PER_S = 10.0
"""A client that floods is counted as one that does, and doesn't flood the counting."""


class Host(Protocol):
    """What a client's end wants of the socket that it came by."""

    settings: AskSocketTable

    def connected(self, end: ClientEnd) -> Fault | None: ...
    def disconnected(self, end: ClientEnd) -> None: ...
    def faulted(self, end: ClientEnd, fault: Fault) -> None: ...
    def asked(self, end: ClientEnd, request: AskRequest) -> Fault | None: ...
    def named(self, end: ClientEnd, hello: Hello) -> None: ...
    def acknowledged(self, end: ClientEnd, ack: Ack) -> None: ...
    def why(self, end: ClientEnd, why: Why) -> Fault | None: ...
    def labelled(self, end: ClientEnd, said: Labelled) -> Fault | None: ...
    def health(self, end: ClientEnd, asked: HealthAsked) -> Fault | None: ...


class Bucket:
    """So many per second, and a second's worth at once. A rate of 0 is no limit."""

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._level = max(1.0, per_s)
        self._at = now

    def take(self, now: float) -> bool:
        if self._per_s <= 0.0:
            return True
        self._level = min(max(1.0, self._per_s), self._level + (now - self._at) * self._per_s)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class ClientEnd(asyncio.Protocol):
    """Never raises for what a client does; refuses it with a line, and counts it."""

    def __init__(self, host: Host) -> None:
        self.who = ""
        self.user = -1
        self.acks = False
        self._host = host
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._reader = RequestReader(host.settings.max_bytes)
        self._rate = Bucket(host.settings.max_per_s, now)
        self._fault_rate = Bucket(FAULTS_COUNTED_PER_S, now)
        self._transport: asyncio.Transport | None = None
        self._begun_at: float | None = None
        self._waiting = 0
        self._said_something = False
        self._ended = False
        self._early: list[tuple[bytes, bool]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.user = _user_of(transport)
        refused = self._host.connected(self)
        if refused is not None:
            self.refuse(refused)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._host.disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for request in self._reader.feed(data):
            self._take(request)
        self._begun_at = (self._begun_at or self._loop.time()) if self._reader.partial else None

    def eof_received(self) -> bool:
        """The client has said all; it is kept until it has heard all."""
        if self._reader.partial:
            self.refuse(Fault("bad_request", "the connection ended within a request", fatal=True))
        self._ended = True
        self._part()
        return not self._gone()

    def send(self, line: bytes, *, final: bool) -> bool:
        """False where nobody is there to read it."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._early is not None:
            self._early.append((line, final))
            return True
        if self._gone():
            self.close()
            return False
        if self._transport.get_write_buffer_size() + len(line) > MAX_UNREAD_BYTES:
            self._host.faulted(self, Fault("unread", f"more than {MAX_UNREAD_BYTES} bytes of answers"))
            self._host.disconnected(self)
            self._transport.abort()
            return False
        self._transport.write(line)
        if self._transport.is_closing():  # the kernel refused it: the client left a moment ago
            return False
        self._waiting -= final
        self._part()
        return True

    @contextmanager
    def accepting(self) -> Iterator[None]:
        """What is sent meanwhile comes after the line that accepts."""
        self._early = []
        try:
            yield
        finally:
            early, self._early = self._early or [], None
            for line, final in early:
                self.send(line, final=final)

    def expect_answer(self) -> None:
        """One more final answer is owed: the client is not let go before it."""
        self._waiting += 1

    def accept(self, line: bytes) -> None:
        if self._early is not None:
            self._early.insert(0, (line, False))
        else:
            self.send(line, final=False)

    def refuse(self, fault: Fault) -> None:
        if self._fault_rate.take(self._loop.time()):
            self._host.faulted(self, fault)
        self.send(error_line(fault), final=False)
        if fault.fatal:
            self.close()

    def expire(self, within_s: float) -> None:
        if self._begun_at is not None and self._loop.time() - self._begun_at > within_s:
            self._begun_at = None
            self.refuse(Fault("too_slow", f"a request took longer than {within_s:g} s", fatal=True))
        if self._gone():
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._host.disconnected(self)
            self._transport.close()

    def _take(self, request: Request) -> None:
        first, self._said_something = not self._said_something, True
        if self._transport is None or self._transport.is_closing():
            return
        if isinstance(request, Fault):
            self.refuse(request)
        elif isinstance(request, Ack):
            self._host.acknowledged(self, request)
        elif isinstance(request, Hello):
            self._name(request, first)
        elif isinstance(request, Why):
            self._serve(self._host.why, request)
        elif isinstance(request, Labelled):
            self._serve(self._host.labelled, request)
        elif isinstance(request, HealthAsked):
            self._serve(self._host.health, request)
        else:
            self._serve(self._host.asked, request)

    def _name(self, hello: Hello, first: bool) -> None:
        if first:
            self._host.named(self, hello)
        else:
            self.refuse(Fault("bad_request", "a client names itself in its first line, or never", fatal=True))

    def _serve(self, serve: Callable[[ClientEnd, Served], Fault | None], request: Served) -> None:
        if self._rate.take(self._loop.time()):
            fault = serve(self, request)
        else:
            tag = request.tag if isinstance(request, AskRequest) else ""
            fault = Fault("too_fast", f"more than {self._host.settings.max_per_s:g} questions per second", tag)
        if fault is not None:
            self.refuse(fault)

    def _gone(self) -> bool:
        """Whether a client that has said all has left as well: a read can't tell the two, the kernel can."""
        if not self._ended or self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        return bool(poll.poll(0))

    def _part(self) -> None:
        if self._ended and self._waiting <= 0 and not self.acks:
            self.close()


def _user_of(transport: asyncio.Transport) -> int:
    """Who is at the other end, as the kernel knows it."""
    peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[1])
