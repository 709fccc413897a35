"""The devices of a fleet, many in one process on one loop: ours are `EdgeAgent`s, theirs paho clients.

python -m benchmarks.against_handwritten.fleet_devices ours FIRST COUNT BROKER_PORT FOLDER
python -m benchmarks.against_handwritten.fleet_devices theirs FIRST COUNT BROKER_PORT MODEL
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import paho.mqtt.client as paho

from benchmarks.against_handwritten.handwritten import Device, mqtt, no_delay
from benchmarks.against_handwritten.systems import RIGHT
from benchmarks.crew import Order, Runner, serve
from benchmarks.models import TENSOR, inputs
from benchmarks.ours import SITE
from cascade.adapters.settings_file import read_settings
from edge_agent import EdgeAgent
from edge_agent.settings import DeviceTable, EdgeSettings

CONNECTING_AT_ONCE = 32
Ask = Callable[[Any], Awaitable[int]]


class Fleet(Protocol):
    async def open(self) -> list[Ask]: ...
    async def close(self) -> None: ...


class OurFleet:
    """They share one state folder, so that the model is tried once: with `memory` streams nothing else is in it."""

    def __init__(self, first: int, count: int, folder: Path) -> None:
        self._settings = read_settings(folder / f"fleet{first}.toml", EdgeSettings)
        self._names = [f"{SITE}.ours{first + number}" for number in range(count)]
        self._agents: list[EdgeAgent] = []

    async def open(self) -> list[Ask]:
        state = self._settings.device.state_dir
        for name in self._names:
            device = DeviceTable(name=name, state_dir=state)
            agent = EdgeAgent(msgspec.structs.replace(self._settings, device=device))
            await agent.start()
            self._agents.append(agent)
        asks = [_asking(agent) for agent in self._agents]
        for start in range(0, len(asks), CONNECTING_AT_ONCE):
            await asyncio.gather(*[_until_linked(agent) for agent in self._agents[start : start + CONNECTING_AT_ONCE]])
        return asks

    async def close(self) -> None:
        await asyncio.gather(*[agent.stop() for agent in self._agents])


def _asking(agent: EdgeAgent) -> Ask:
    async def ask(image: Any) -> int:
        return int((await agent.ask({TENSOR: image}, final=True)).label)

    return ask


async def _until_linked(agent: EdgeAgent) -> None:
    """An agent without a link answers all the same, but by itself."""
    while (await agent.ask({TENSOR: inputs(4)[3]}, final=True)).tier != "cloud":  # noqa: ASYNC110  # nothing tells it
        await asyncio.sleep(0.05)


class TheirFleet:
    def __init__(self, first: int, count: int, broker_port: int, model: str) -> None:
        self._made = (model, broker_port, [f"fleet{first + number}" for number in range(count)])
        self._devices: list[Device] = []

    async def open(self) -> list[Ask]:
        model, broker_port, names = self._made
        loop = asyncio.get_running_loop()
        for name in names:
            client = on_loop(mqtt(f"handwritten-{name}", True), loop)
            self._devices.append(Device(model, broker_port, True, name, client))
        asks = [self._asking(device) for device in self._devices]
        await asyncio.gather(*[ask(inputs(4)[3]) for ask in asks])
        return asks

    def _asking(self, device: Device) -> Ask:
        loop = asyncio.get_running_loop()

        async def ask(image: Any) -> int:
            answer: asyncio.Future[int] = loop.create_future()
            device.ask_then(image, answer.set_result)
            return await answer

        return ask

    async def close(self) -> None:
        for device in self._devices:
            device.close()


def on_loop(client: paho.Client, loop: asyncio.AbstractEventLoop) -> paho.Client:
    """As paho's documentation shows it for asyncio."""

    def opened(client: paho.Client, userdata: Any, sock: Any) -> None:
        no_delay(client, userdata, sock)
        loop.add_reader(sock, client.loop_read)

    client.on_socket_open = opened
    client.on_socket_close = lambda client, userdata, sock: _ignored(loop.remove_reader(sock))
    client.on_socket_register_write = lambda client, userdata, sock: loop.add_writer(sock, client.loop_write)
    client.on_socket_unregister_write = lambda client, userdata, sock: _ignored(loop.remove_writer(sock))
    return client


def _ignored(_: object) -> None:
    """Whether it was watched at all."""


def _runner(asks: list[Ask]) -> Runner:
    samples = inputs()

    async def run(order: Order) -> list[float]:
        waits: list[float] = []

        async def device(first: int, ask: Ask) -> None:
            for number in range(first, first + order["each"]):
                began = time.perf_counter()
                label = await ask(samples[number % len(samples)])
                waits.append(time.perf_counter() - began)
                assert label == RIGHT, label

        await asyncio.gather(*[device(number, ask) for number, ask in enumerate(asks)])
        return waits

    return run


async def main(kind: str, first: int, count: int, broker_port: int, where: str) -> None:
    fleet: Fleet = (
        OurFleet(first, count, Path(where)) if kind == "ours" else TheirFleet(first, count, broker_port, where)
    )
    try:
        await serve(_runner(await fleet.open()))
    finally:
        await fleet.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
