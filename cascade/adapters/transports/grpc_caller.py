"""One gateway's stream, seen by the server: what waits to be sent to it, and what it is owed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from grpc import aio

from cascade.adapters.transports.transport import PACK_QUESTIONS, Post
from cascade.inference.events import Sent
from cascade.messages import Answer, Key
from cascade.wire.codec import answer_packs, encode_down
from cascade.wire.frames import HEARTBEAT_BYTES, heartbeat_field
from cascade.wire.limits import Limits


class Caller:
    """A deque and one writer."""

    def __init__(self, node: str, context: Any, post: Post, limits: Limits, max_queued: int) -> None:
        self.node = node
        self.owed: set[Key] = set()
        """Questions that have had no reply yet."""
        self._context = context
        self._post = post
        self._limits = limits
        self._max_queued = max_queued
        self._answers: deque[Answer] = deque()
        self._welcome = ""
        self._pong = 0
        self._end = ""
        self._leaving = False
        self._heard = True
        self._wake = asyncio.Event()

    def heard(self) -> None:
        self._heard = True

    def welcome(self, node: str) -> None:
        self._welcome = node
        self._wake.set()

    def pong(self, number: int) -> None:
        self._pong = number
        self._wake.set()

    def reply(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self.owed.discard(answer.key)
        self._answers.extend(answers)
        if len(self._answers) > self._max_queued:
            self.end("answers are not read")
        self._wake.set()

    def end(self, why: str) -> None:
        self._answers.clear()
        self._end = why
        self._wake.set()

    def leave(self) -> None:
        """End when everything was sent."""
        self._leaving = True
        self._wake.set()

    async def lives_as_long_as(self, reading: Coroutine[Any, Any, str], silent_after_s: float) -> str:
        """Until one side ends it: why we did, or an empty string where the gateway did."""
        doing = {asyncio.create_task(job) for job in (reading, self._write(), self._watch(silent_after_s))}
        try:
            done, _ = await asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in doing:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
        for task in done:
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, aio.BaseError | asyncio.InvalidStateError):
                raise error
        return ""

    async def _watch(self, silent_after_s: float) -> str:
        while self._heard:
            self._heard = False
            await asyncio.sleep(silent_after_s)
        return "silent"

    async def _write(self) -> str:
        while not self._end:
            if self._welcome or (self._pong and not self._answers):
                data = encode_down(welcome=self._welcome, pong=self._pong)
                self._welcome, self._pong = "", 0
                await self._send(data)
            elif self._answers:
                await self._write_some()
            elif self._leaving:
                return ""
            else:
                self._wake.clear()
                await self._wake.wait()
        return self._end

    async def _write_some(self) -> None:
        some = [self._answers.popleft() for _ in range(min(PACK_QUESTIONS, len(self._answers)))]
        most = min(self._limits.max_answer_bytes + 16, self._limits.max_message_bytes - HEARTBEAT_BYTES)
        for data in answer_packs(some, most, max_answer_bytes=self._limits.max_answer_bytes):
            pong, self._pong = self._pong, 0
            await self._send(data + heartbeat_field(pong) if pong else data)

    async def _send(self, data: bytes) -> None:
        await self._context.write(data)
        self._post(Sent("below", len(data)))
