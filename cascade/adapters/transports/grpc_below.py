"""The answering end of the gRPC link: a server for many gateways, each with one stream.

A gateway speaks for its own site and no other. What it sends wrongly is refused question by question; a stream that
can't be read at all is ended, and its gateway told why in the status.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc import aio

from cascade.adapters.transports.grpc_caller import Caller
from cascade.adapters.transports.grpc_health import HealthDoor, add_reflection
from cascade.adapters.transports.grpc_security import check_hello, may_be_plain, peer_names, server_credentials
from cascade.adapters.transports.intake import faulted, read_up, take_questions
from cascade.adapters.transports.transport import Post
from cascade.errors import LinkError, PeerError
from cascade.inference.events import Received
from cascade.messages import Answer, site_of
from cascade.wire.codec import Up, decode_up, refusal_of
from cascade.wire.limits import USUAL, Limits

SERVICE = "cascade.wire.v1.Cascade"
UNKNOWN = "unknown"
MAX_UNREADABLE = 3
"""Messages in a row that can't be read; then the stream is ended."""
DRAINING = "draining"
"""The reason in the refusal of what is asked while we go."""
RETRY_MS = 1000.0
GOODBYE_S = 1.0
STREAMS_OF_ONE = 4
"""A gateway that comes again may have left dead streams behind; beyond these its oldest is ended."""


class GrpcBelowSettings(NamedTuple):
    bind: str = "127.0.0.1"
    port: int = 8443
    """0: any that is free; `GrpcBelow.port` says which."""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    require_client_cert: bool = True
    insecure_ok: bool = False
    health: bool = True
    reflection: bool = False
    node: str = "cloud"
    greet_within_s: float = 10.0
    silent_after_s: float = 60.0
    """A gateway sends heartbeats: one that says nothing for so long is gone."""
    max_streams: int = 1024
    max_queued: int = 16384
    """Answers that wait for one gateway. One that doesn't read them loses its stream."""
    limits: Limits = USUAL


def why_not(bind: str, port: int) -> OSError | None:
    """gRPC says only that it failed: the kernel says why. None where it would not fail now."""
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC: what has just ended is not in the way
        try:
            probe.bind((bind, port))
        except OSError as error:
            return error
    return None


def _refused(address: str, why: OSError | RuntimeError) -> LinkError:
    if isinstance(why, OSError) and why.errno == errno.EADDRINUSE:
        return LinkError(f"below.port: another program listens on {address}: stop it, or write another port")
    return LinkError(f"below: can't listen on {address}: {(isinstance(why, OSError) and why.strerror) or why}")


class GrpcBelow:
    """See `transport.Below`. `back` names a stream: the answers to one that is gone are dropped, it asks again."""

    def __init__(self, settings: GrpcBelowSettings) -> None:
        self.port = settings.port
        self._settings = settings
        self._post: Post = _nowhere
        self._server: Any = None
        self._health: HealthDoor | None = None
        self._callers: dict[str, Caller] = {}
        self._numbers = itertools.count(1)
        self._draining = False
        self._idle = asyncio.Event()

    async def open(self, post: Post) -> None:
        settings = self._settings
        server = aio.server(options=_options(settings))
        self._bind(server)
        ask = grpc.stream_stream_rpc_method_handler(self._serve)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Ask": ask}),))
        if settings.health:
            self._health = HealthDoor(server, SERVICE)
        if settings.reflection:
            add_reflection(server, SERVICE, settings.health)
        self._post, self._server = post, server
        await server.start()
        if self._health is not None:
            await self._health.serving()

    def reply(self, back: str, answers: Sequence[Answer]) -> None:
        caller = self._callers.get(back)
        if caller is not None:
            caller.reply(answers)
            if self._draining:
                self._look_whether_idle()

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, and wait until what was taken has had a reply, but no longer than `grace_s`."""
        self._draining = True
        if self._health is not None:
            await self._health.leaving()
        self._look_whether_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            return

    async def close(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        self._draining = True
        for caller in self._callers.values():
            caller.leave()
        await server.stop(GOODBYE_S)
        self._post = _nowhere

    def disconnect(self, node: str) -> None:
        """End the streams of a gateway whose certificate was revoked: a live one would go on with it."""
        for caller in [caller for caller in self._callers.values() if caller.node == node]:
            caller.end("disconnected")

    @property
    def connected(self) -> frozenset[str]:
        return frozenset(caller.node for caller in self._callers.values())

    def _bind(self, server: Any) -> None:
        settings = self._settings
        where = "the link below"
        address = f"[{settings.bind}]:{settings.port}" if ":" in settings.bind else f"{settings.bind}:{settings.port}"
        taken = why_not(settings.bind, settings.port)
        if taken is not None and taken.errno == errno.EADDRINUSE:
            raise _refused(address, taken)  # gRPC would write lines of its own first
        try:
            if settings.cert_file is None and settings.key_file is None and settings.ca_file is None:
                may_be_plain(where, settings.bind, settings.insecure_ok)
                self.port = server.add_insecure_port(address)
            else:
                credentials = server_credentials(
                    where, settings.ca_file, settings.cert_file, settings.key_file, settings.require_client_cert
                )
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise _refused(address, why_not(settings.bind, settings.port) or error) from None
        if not self.port:
            raise LinkError(f"below: can't listen on {address}")

    async def _serve(self, _: Any, context: Any) -> None:
        """One stream, from its greeting to its end."""
        if self._draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        if len(self._callers) >= self._settings.max_streams:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{len(self._callers)} gateways are here already")
        try:
            node, first = await self._greeted(context)
        except PeerError as fault:
            faulted(self._post, UNKNOWN, fault)
            code = grpc.StatusCode.UNAUTHENTICATED if fault.kind == "identity" else grpc.StatusCode.INVALID_ARGUMENT
            await context.abort(code, str(fault))
        back = f"grpc:{node}#{next(self._numbers)}"
        caller = Caller(node, context, self._post, self._settings.limits, self._settings.max_queued)
        self._callers[back] = caller
        self._end_the_oldest_of(node)
        try:
            caller.welcome(self._settings.node)
            self._take(caller, back, first)
            why = await caller.lives_as_long_as(self._read(caller, back, context), self._settings.silent_after_s)
        finally:
            del self._callers[back]
            self._look_whether_idle()
        if why:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, why)

    async def _greeted(self, context: Any) -> tuple[str, Up]:
        """Who speaks, and the whole first message."""
        try:
            data = await asyncio.wait_for(context.read(), self._settings.greet_within_s)
        except TimeoutError:
            raise PeerError("protocol", "no greeting") from None
        if not isinstance(data, bytes):
            raise PeerError("protocol", "nothing said")
        self._post(Received("below", len(data)))
        up = decode_up(data, self._settings.limits)
        for fault in up.faults:
            faulted(self._post, UNKNOWN, fault)
        proven = self._settings.cert_file is not None and self._settings.require_client_cert
        return check_hello(up.hello, peer_names(context.auth_context()), proven), up

    async def _read(self, caller: Caller, back: str, context: Any) -> str:
        """Until the gateway says goodbye (an empty reason) or must be sent away (why)."""
        unreadable = 0
        while True:
            data = await context.read()
            if not isinstance(data, bytes):
                return ""
            caller.heard()
            up = read_up(self._post, data, self._settings.limits, caller.node)
            if up is None:
                unreadable += 1
                if unreadable == MAX_UNREADABLE:
                    return f"{MAX_UNREADABLE} messages in a row that can't be read"
                continue
            unreadable = 0
            if up.hello:
                faulted(self._post, caller.node, PeerError("protocol", "a second greeting"))
            self._take(caller, back, up)

    def _take(self, caller: Caller, back: str, up: Up) -> None:
        if self._draining and up.questions:
            caller.reply([refusal_of(question, DRAINING, RETRY_MS) for question in up.questions])
            up = up._replace(questions=())
        if up.questions or up.refusals:
            site = site_of(caller.node)
            asked, refused = take_questions(self._post, up, caller.node, back, lambda device: site_of(device) == site)
            caller.owed.update(asked)
            if refused:
                caller.reply(refused)
        if up.ping:  # last, so that answers that come at once carry the pong
            caller.pong(up.ping)

    def _end_the_oldest_of(self, node: str) -> None:
        of_one = [caller for caller in self._callers.values() if caller.node == node]
        if len(of_one) > STREAMS_OF_ONE:
            of_one[0].end("its gateway has newer streams")

    def _look_whether_idle(self) -> None:
        if self._draining and not any(caller.owed for caller in self._callers.values()):
            self._idle.set()


def _nowhere(_: object) -> None:
    """Before `open` and after `close` nobody listens."""


def _options(settings: GrpcBelowSettings) -> list[tuple[str, Any]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.limits.max_message_bytes),
        ("grpc.max_concurrent_streams", 16),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
