"""The link without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cascade.adapters.transports.memory import MemoryAbove, MemoryExchange


class MemoryLine:
    device = "barn.cam1"
    dead_after_s = 0.1

    def __init__(self) -> None:
        self.exchange = MemoryExchange()
        self.below = self.exchange.below
        self.above = self.exchange.above(self.device)

    async def cut(self) -> None:
        self.exchange.cut()

    async def restore(self) -> None:
        self.exchange.restore()

    def another(self) -> tuple[MemoryAbove, str]:
        return self.exchange.above("barn.cam2"), "barn.cam2"

    async def rubbish(self) -> None:
        self.exchange.up("barn.bad", b"\xff\xff rubbish")


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[MemoryLine]:
    yield MemoryLine()


LINKS = {"memory": (memory, ())}
