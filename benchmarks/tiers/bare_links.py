"""The asking side of the bare links: paho through a broker, one gRPC stream, gRPC calls. As thin as they can be."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from typing import Any

import paho.mqtt.client as paho
from grpc import aio

from benchmarks.ours import LoopThread
from benchmarks.tiers.echoes import ANSWER, ASK, SERVICE, STREAM, UNARY, client

WITHIN_S = 60.0


class BareBroker:
    """A message each way for a question; paho's thread asks again as soon as it hears."""

    name = "bare broker, paho"

    def __init__(self, broker_port: int, payload: bytes, pids: list[int]) -> None:
        self.pids, self._payload = [os.getpid(), *pids], payload
        self._began: deque[float] = deque()
        self._waits: list[float] = []
        self._left = self._count = 0
        self._done, subscribed = threading.Event(), threading.Event()
        self._client = client("asker")
        self._client.on_message = self._heard
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", broker_port)
        self._client.subscribe(ANSWER, qos=1)
        self._client.loop_start()
        if not subscribed.wait(WITHIN_S):
            raise TimeoutError("the broker did not take the subscription")

    def run(self, in_flight: int, count: int) -> list[float]:
        self._waits, self._count, self._left = [], count, max(0, count - in_flight)
        self._done.clear()
        for _ in range(min(in_flight, count)):
            self._ask()
        if not self._done.wait(WITHIN_S):
            raise TimeoutError("the echo did not answer")
        return self._waits

    def _ask(self) -> None:
        self._began.append(time.perf_counter())
        self._client.publish(ASK, self._payload, qos=1)

    def _heard(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        """In order: a broker keeps the order of one topic."""
        self._waits.append(time.perf_counter() - self._began.popleft())
        if self._left:
            self._left -= 1
            self._ask()
        elif len(self._waits) == self._count:
            self._done.set()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class BareGrpc:
    """`grpc.aio` in its two forms; the loop is in a thread, and all that is timed is on it."""

    def __init__(self, thread: LoopThread, port: int, payload: bytes, pids: list[int], *, stream: bool) -> None:
        self.name = "bare gRPC, one stream" if stream else "bare gRPC, unary"
        self.pids, self._payload, self._thread = [os.getpid(), *pids], payload, thread
        self._run = self._stream if stream else self._unary
        self._channel = thread.call(self._opened(port))

    async def _opened(self, port: int) -> Any:
        return aio.insecure_channel(f"127.0.0.1:{port}")

    def run(self, in_flight: int, count: int) -> list[float]:
        return self._thread.call(self._run(in_flight, count))

    async def _unary(self, in_flight: int, count: int) -> list[float]:
        once, numbers, waits = self._channel.unary_unary(f"/{SERVICE}/{UNARY}"), iter(range(count)), list[float]()

        async def ask() -> None:
            for _ in numbers:
                began = time.perf_counter()
                await once(self._payload, timeout=WITHIN_S)
                waits.append(time.perf_counter() - began)

        await asyncio.gather(*[ask() for _ in range(in_flight)])
        return waits

    async def _stream(self, in_flight: int, count: int) -> list[float]:
        call = self._channel.stream_stream(f"/{SERVICE}/{STREAM}")()
        began, waits, room = deque[float](), list[float](), asyncio.Semaphore(in_flight)

        async def write() -> None:
            for _ in range(count):
                await room.acquire()
                began.append(time.perf_counter())
                await call.write(self._payload)
            await call.done_writing()

        writing = asyncio.create_task(write())
        for _ in range(count):
            await call.read()
            waits.append(time.perf_counter() - began.popleft())
            room.release()
        await writing
        return waits

    def close(self) -> None:
        self._thread.call(self._channel.close())
