"""The asking end of the gRPC link: one stream to the cloud, with many questions in flight.

The link is up when the other side has said something in this stream, and lost when it has said nothing for
`dead_after_s`: heartbeats of our own, because gRPC notices a frozen server after a minute, and a call without a
deadline never. Each try has a channel of its own: the next call of an old one would go into the same dead connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from random import random
from typing import Any

from grpc import aio

from cascade.adapters.transports.backoff import Backoff
from cascade.adapters.transports.grpc_channel import GrpcAboveSettings, check_settings, new_channel, target_of
from cascade.adapters.transports.intake import take_answers
from cascade.adapters.transports.pacing import Pace
from cascade.adapters.transports.transport import PACK_QUESTIONS, Post
from cascade.errors import SettingsError
from cascade.inference.events import LinkLost, LinkUp, Sent, Unsendable
from cascade.messages import Key, Question
from cascade.wire.codec import encode_up, packs
from cascade.wire.frames import HEARTBEAT_BYTES, heartbeat_field

ASK_METHOD = "/cascade.wire.v1.Cascade/Ask"
GOODBYE_S = 1.0
UPS_PER_MINUTE = 20
"""More than over MQTT: two gateways with one name don't throw each other out here."""
MAX_UNREADABLE = 3
"""Messages in a row that can't be read; then the stream is given up."""

log = logging.getLogger(__name__)


class GrpcAbove:
    """See `transport.Above`."""

    def __init__(self, settings: GrpcAboveSettings, chance: Callable[[], float] = random) -> None:
        self._settings = settings
        self._chance = chance
        self._post: Post = _nowhere
        self._queue: deque[Question] = deque()
        self._wake = asyncio.Event()
        self._pace = Pace(settings.dead_after_s)
        self._heartbeat_due = False
        self._is_up = False
        self._closing = False
        self._heard_at = 0.0
        self._up_since = math.inf
        self.trouble = "not opened"
        """Why there is no link, for people; empty while there is one."""
        self._task: asyncio.Task[None] | None = None

    async def open(self, post: Post) -> None:
        check_settings(self._settings)
        self._post = post
        self._task = asyncio.create_task(self._connect_for_ever(), name=f"grpc above of {self._settings.node}")

    def ask(self, questions: Sequence[Question]) -> None:
        if not self._is_up or self._closing:
            return
        self._queue.extend(questions)
        if len(self._queue) > self._settings.max_queued:
            self._lose("queue_full")
        self._wake.set()

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=GOODBYE_S if self._is_up else 0)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._is_up, self._task, self._post = False, None, _nowhere

    async def _connect_for_ever(self) -> None:
        loop, settings = asyncio.get_running_loop(), self._settings
        backoff = Backoff(settings.retry_first_s, settings.retry_most_s, UPS_PER_MINUTE, self._chance)
        while not self._closing:
            self._up_since = math.inf
            try:
                why = await self._one_stream()
            except Exception as error:
                log.exception("the link above failed by a fault of its own")
                why = type(error).__name__
            self._lose(why)
            if self._closing:
                return
            if why != self.trouble:
                log.warning("%s: no link to %s: %s", settings.node, target_of(settings), why)
            self.trouble = why
            if self._up_since < math.inf:
                backoff.connected(self._up_since)
            delay_s = backoff.next_s(loop.time(), max(0.0, loop.time() - self._up_since))
            await asyncio.sleep(delay_s)

    async def _one_stream(self) -> str:
        """One try, from connecting to the end, and how it ended."""
        try:
            channel = new_channel(self._settings)
        except SettingsError as error:
            return str(error)
        async with channel:
            call = channel.stream_stream(ASK_METHOD)()
            self._heard_at, self._heartbeat_due = 0.0, False
            self._pace.lost()
            doing = {asyncio.create_task(job) for job in (self._write(call), self._read(call), self._watch())}
            try:
                done, _ = await asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                call.cancel()
                for task in doing:
                    task.cancel()
                await asyncio.gather(*doing, return_exceptions=True)
            return _ending(done)

    async def _write(self, call: Any) -> str:
        """Greeting, then questions as they come, heartbeats before them."""
        await self._send(call, encode_up(hello=self._settings.node))
        while True:
            if self._heartbeat_due:
                self._heartbeat_due = False
                await self._send(call, encode_up(ping=self._pace.ping(asyncio.get_running_loop().time())))
            elif self._queue and self._pace.is_open:
                await self._write_some(call)
            elif self._closing and not self._queue:
                await call.done_writing()
                await asyncio.Event().wait()
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _write_some(self, call: Any) -> None:
        settings, now = self._settings, asyncio.get_running_loop().time()
        most = min(max(settings.pack_bytes, settings.max_question_bytes + 64), settings.limits.max_message_bytes)
        unsendable: list[Unsendable] = []
        for data, keys in packs(
            self._some(), most - HEARTBEAT_BYTES, max_question_bytes=settings.max_question_bytes, unsendable=unsendable
        ):
            ping = self._pace.sending(len(data), now)
            await self._send(call, data + heartbeat_field(ping) if ping else data, keys)
        for each in unsendable:
            self._post(each)

    def _some(self) -> list[Question]:
        """One message full, or as much as the line takes at once, but one question at least."""
        some: list[Question] = []
        room = min(self._pace.window_bytes, self._settings.pack_bytes)
        while self._queue and len(some) < PACK_QUESTIONS and (room > 0 or not some):
            some.append(self._queue.popleft())
            room -= some[-1].payload_bytes
        return some

    async def _send(self, call: Any, data: bytes, keys: tuple[Key, ...] = ()) -> None:
        if keys:
            self._post(Sent("above", len(data), keys))  # its answers may be read before the write returns
        await call.write(data)
        if not keys:
            self._post(Sent("above", len(data)))

    async def _read(self, call: Any) -> str:
        unreadable, end = 0, getattr(aio, "EOF")  # noqa: B009 (missing from the stubs)
        while True:
            data = await call.read()
            if data is end:
                return "closed by the other side"
            down = take_answers(self._post, data, self._settings.limits, "above")
            if down is None:
                unreadable += 1
                if unreadable == MAX_UNREADABLE:
                    return "unreadable"
                continue
            unreadable = 0
            self._heard_at = asyncio.get_running_loop().time()
            if down.pong:
                self._pace.pong(down.pong, self._heard_at)
                self._wake.set()
            if not self._is_up:
                self._come_up()

    async def _watch(self) -> str:
        """Heartbeats, and the end of our patience."""
        loop, settings = asyncio.get_running_loop(), self._settings
        patience_ends = loop.time() + settings.connect_within_s
        while True:
            wakes_at = min(loop.time() + settings.heartbeat_s, patience_ends)
            await asyncio.sleep(wakes_at - loop.time())
            if self._heard_at:
                patience_ends = self._heard_at + settings.dead_after_s
            if loop.time() >= patience_ends:
                if loop.time() - wakes_at < settings.heartbeat_s:
                    return "silent"
                patience_ends = loop.time() + settings.heartbeat_s
                """It was we who slept: what came meanwhile has not been read yet."""
            self._heartbeat_due = True
            self._wake.set()

    def _come_up(self) -> None:
        self._is_up, self.trouble = True, ""
        self._up_since = min(self._up_since, self._heard_at)
        self._post(LinkUp())

    def _lose(self, reason: str) -> None:
        """What waits is dropped: the hop asks it again when the link is up."""
        self._queue.clear()
        if self._is_up:
            self._is_up = False
            self._post(LinkLost(reason))


def _nowhere(_: object) -> None:
    """Before `open` and after `close` nobody listens."""


def _ending(done: set[asyncio.Task[str]]) -> str:
    """How a stream ended, in a word or two. What is not gRPC's failure is our bug, and raised."""
    for task in done:
        if task.cancelled():
            continue
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, aio.AioRpcError):
            return f"{error.code().name}: {error.details()}"
        if not isinstance(error, asyncio.InvalidStateError):
            raise error
    return "closed"
