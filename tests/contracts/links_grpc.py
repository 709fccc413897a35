"""gRPC through a small proxy, which can reset connections or swallow everything without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
from grpc import aio

from cascade.adapters.transports.grpc import GrpcAbove, GrpcAboveSettings, GrpcBelow, GrpcBelowSettings
from cascade.adapters.transports.grpc_above import ASK_METHOD
from cascade.adapters.transports.transport import Post
from cascade.wire.codec import encode_up


class Proxy:
    """Passes bytes on. `hole`: open connections stay open, and nothing comes out of them. `reset`: they are closed."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.way = "pass"
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()

    async def open(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def become(self, way: str) -> None:
        self.way = way
        if way == "hole":
            self._passing.clear()
        else:
            self._passing.set()
            await self._end_all()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._end_all()

    async def _end_all(self) -> None:
        """Also those that were open in the hole: a real network forgets them."""
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if self.way != "reset":
                await self._join(reader, writer)
        except asyncio.CancelledError:
            return
        finally:
            self._connections.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            ways = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                back.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._passing.wait()
                sink.write(data)
                await sink.drain()


class ServedBelow(GrpcBelow):
    """Tells the proxy where it is, once it knows."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(GrpcBelowSettings(port=0, health=False))
        self._proxy = proxy

    async def open(self, post: Post) -> None:
        await super().open(post)
        self._proxy.target = self.port


class GrpcLine:
    device = "barn.cam1"
    dead_after_s = 0.6

    def __init__(self, proxy: Proxy, cut_by: str) -> None:
        self._proxy = proxy
        self._cut_by = cut_by
        self.below = ServedBelow(proxy)
        self.above = self._above("barn.gw1")
        self._others: list[GrpcAbove] = []

    def _above(self, node: str) -> GrpcAbove:
        return GrpcAbove(
            GrpcAboveSettings(
                "127.0.0.1", self._proxy.port, node, heartbeat_s=0.2, dead_after_s=self.dead_after_s,
                retry_first_s=0.05, retry_most_s=0.2, connect_within_s=2.0,
            )
        )  # fmt: skip

    async def cut(self) -> None:
        await self._proxy.become(self._cut_by)

    async def restore(self) -> None:
        await self._proxy.become("pass")

    def another(self) -> tuple[GrpcAbove, str]:
        self._others.append(self._above("barn.gw2"))
        return self._others[-1], "barn.cam2"

    async def rubbish(self) -> None:
        async with aio.insecure_channel(f"127.0.0.1:{self._proxy.port}") as channel:
            call = channel.stream_stream(ASK_METHOD)()
            await call.write(encode_up(hello="barn.bad"))
            await call.read()
            for _ in range(3):
                await call.write(b"\xff\xff rubbish")
            with suppress(aio.AioRpcError):
                await call.read()


def by(cut_by: str) -> Callable[[Path], AbstractAsyncContextManager[GrpcLine]]:
    @asynccontextmanager
    async def grpc(_: Path) -> AsyncIterator[GrpcLine]:
        proxy = Proxy()
        await proxy.open()
        try:
            yield GrpcLine(proxy, cut_by)
        finally:
            await proxy.close()

    return grpc


LINKS = {"grpc": (by("reset"), ()), "grpc-black-hole": (by("hole"), (pytest.mark.slow,))}
