"""What asks a peer, in a process of its own, as thin as it can be: so that its CPU is not the server's.

    python -m benchmarks.peers.load PEER PORT
    python -m benchmarks.peers.load cascade PORT RELEASE GATEWAYS

Of ours: so many gateways, each with a stream, share what is in flight.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from grpc import aio

from benchmarks.crew import Order, serve
from benchmarks.light_device import LightDevice, release_name, samples_of
from benchmarks.ours import SITE
from benchmarks.peers.bodies import images
from benchmarks.peers.http_connection import HttpConnection
from benchmarks.peers.peers import PEERS, Peer
from cascade.adapters.transports.grpc_above import GrpcAbove
from cascade.adapters.transports.grpc_channel import GrpcAboveSettings

OURS = "cascade"
MOST_IN_FLIGHT = 32
RIGHT, WITHIN_S = 3, 30.0
Ask = Callable[[bytes], Awaitable[bytes]]


async def run_peer(asks: list[Ask], bodies: list[bytes], order: Order) -> list[float]:
    """Each of those who ask has one question in flight."""
    numbers, waits = iter(range(order["count"])), list[float]()

    async def one(ask: Ask) -> None:
        for number in numbers:
            began = time.perf_counter()
            await ask(bodies[number % len(bodies)])
            waits.append(time.perf_counter() - began)

    await asyncio.gather(*[one(ask) for ask in asks[: order["in_flight"]]])
    return waits


async def main_peer(peer: Peer, port: int) -> None:
    made = [peer.body(image) for image in images()]
    if peer.asked_by == "grpc":
        channel = aio.insecure_channel(f"127.0.0.1:{port}")
        call: Any = channel.unary_unary(peer.where)
        asks: list[Ask] = [lambda body: call(body, timeout=WITHIN_S)] * MOST_IN_FLIGHT
    else:
        asks = [(await HttpConnection.opened(port, peer.where)).ask for _ in range(MOST_IN_FLIGHT)]
    scores = peer.scores(await asks[0](made[0]))
    assert scores.index(max(scores)) == RIGHT, scores
    await serve(lambda order: run_peer(asks, made, order))


async def main_ours(port: int, release: Path, gateways: int) -> None:
    name, samples = release_name(release), samples_of(images())
    devices = []
    for number in range(gateways):
        settings = GrpcAboveSettings("127.0.0.1", port, f"{SITE}.gateway{number}", insecure_ok=True)
        devices.append(LightDevice(f"device{number}", GrpcAbove(settings), name, samples))
    await asyncio.gather(*[device.open() for device in devices])

    async def run(order: Order) -> list[float]:
        each, count = order["in_flight"] // gateways, order["count"] // gateways
        waits = await asyncio.gather(*[device.run(each, count) for device in devices])
        return [wait for some in waits for wait in some]

    await serve(run)


if __name__ == "__main__":
    if sys.argv[1] == OURS:
        asyncio.run(main_ours(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
    else:
        asyncio.run(main_peer(next(peer for peer in PEERS if peer.name == sys.argv[1]), int(sys.argv[2])))
