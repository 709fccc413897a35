"""MQTT through the embedded broker (it forgets everything and comes back, or freezes) and through mosquitto."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from cascade.adapters.transports.embedded_broker import EmbeddedBroker
from cascade.adapters.transports.mqtt import MqttAbove, MqttBelow, MqttSettings
from cascade.adapters.transports.mqtt_session import MqttSession
from cascade.wire.topics import ask_topic

QUICK: dict[str, Any] = {
    "probe_s": 0.2, "dead_after_s": 0.6, "connect_timeout_s": 2.0,
    "backoff_first_s": 0.02, "backoff_most_s": 0.1, "reconnects_a_minute": 1000,
}  # fmt: skip


class Broker(Protocol):
    port: int

    async def cut(self) -> None: ...

    async def restore(self) -> None: ...


class Stopping(EmbeddedBroker):
    async def cut(self) -> None:
        await self.stop()

    async def restore(self) -> None:
        await self.start()


class Freezing(EmbeddedBroker):
    async def cut(self) -> None:
        self.freeze()

    async def restore(self) -> None:
        self.thaw()


class Stranger:
    """A client that was let in and says what it likes."""

    def __init__(self, port: int) -> None:
        settings = MqttSettings(port=port, client_id="stranger")
        self._session = MqttSession(settings, self, ["nothing"])
        self._done = asyncio.Event()

    async def say(self, topic: str, payload: bytes) -> None:
        self._topic, self._payload = topic, payload
        await self._session.open()
        async with asyncio.timeout(5.0):
            await self._done.wait()
        await self._session.close()

    def ready(self) -> None:
        self._session.publish(self._topic, self._payload, "said")

    def acknowledged(self, tag: object, code: int) -> None:
        self._done.set()

    def lost(self, loss: object, unacknowledged: list[object]) -> None:
        """It tries again."""

    def heard(self, message: object) -> None:
        """It does not listen."""

    def twin(self, detail: str) -> None:
        """It does not mind."""


class MqttLine:
    device = "barn.cam1"
    dead_after_s = 0.6

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.above = self._above(self.device)
        self.below = MqttBelow(MqttSettings(port=broker.port, client_id="gw1", **QUICK), "barn")

    def _above(self, device: str) -> MqttAbove:
        return MqttAbove(MqttSettings(port=self._broker.port, client_id=device, **QUICK), device)

    async def cut(self) -> None:
        await self._broker.cut()

    async def restore(self) -> None:
        await self._broker.restore()

    def another(self) -> tuple[MqttAbove, str]:
        return self._above("barn.cam2"), "barn.cam2"

    async def rubbish(self) -> None:
        await Stranger(self._broker.port).say(ask_topic("barn.bad"), b"\xff\xff rubbish")


@asynccontextmanager
async def embedded(_: Path) -> AsyncIterator[MqttLine]:
    broker = Stopping()
    await broker.start()
    try:
        yield MqttLine(broker)
    finally:
        await broker.stop()


@asynccontextmanager
async def frozen(_: Path) -> AsyncIterator[MqttLine]:
    broker = Freezing()
    await broker.start()
    try:
        yield MqttLine(broker)
    finally:
        await broker.stop()


class Restarting:
    """mosquitto, killed and started again. Its handling takes a moment, in a thread."""

    def __init__(self, folder: Path) -> None:
        self._server = _services().Mosquitto(folder)
        self.port: int = self._server.port

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def cut(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def restore(self) -> None:
        await self.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.stop)


class Stopped(Restarting):
    """mosquitto under SIGSTOP: its sockets stay open, and nothing comes out of them."""

    async def cut(self) -> None:
        self._server.freeze()

    async def restore(self) -> None:
        self._server.thaw()


def _services() -> ModuleType:
    path = Path(__file__).parent.parent / "conftest.py"
    spec = importlib.util.spec_from_file_location("services_for_links", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mosquitto(kind: type[Restarting]) -> object:
    @asynccontextmanager
    async def line(folder: Path) -> AsyncIterator[MqttLine]:
        broker = kind(folder / "mosquitto")
        await broker.start()
        try:
            yield MqttLine(broker)
        finally:
            await broker.stop()

    return line


REAL = (pytest.mark.needs_services,)
LINKS = {
    "mqtt-embedded": (embedded, ()),
    "mqtt-embedded-frozen": (frozen, (pytest.mark.slow,)),
    "mqtt-mosquitto": (mosquitto(Restarting), REAL),
    "mqtt-mosquitto-frozen": (mosquitto(Stopped), REAL),
}
