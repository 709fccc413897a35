"""Many devices in one process, each with its own connection, none with a hop or a model behind it.

python -m benchmarks.growth.devices FIRST COUNT BROKER_PORT RELEASE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from benchmarks.crew import Order, serve
from benchmarks.light_device import LightDevice, mqtt_link, release_name, samples_of
from benchmarks.models import inputs

CONNECTING_AT_ONCE = 50
CLIMBED = (1, 3)
"""Of each four inputs, those that leave the edge: one for the fog, one for the cloud."""


def devices(first: int, count: int, broker_port: int, release: Path) -> list[LightDevice]:
    name, samples = release_name(release), samples_of([inputs(4)[number] for number in CLIMBED])
    names = [f"sim{number}" for number in range(first, first + count)]
    return [LightDevice(each, mqtt_link(each, broker_port), name, samples) for each in names]


async def main(first: int, count: int, broker_port: int, release: Path) -> None:
    made = devices(first, count, broker_port, release)
    for start in range(0, count, CONNECTING_AT_ONCE):
        await asyncio.gather(*[device.open() for device in made[start : start + CONNECTING_AT_ONCE]])

    async def run(order: Order) -> list[float]:
        all_waits = await asyncio.gather(
            *[device.run_for(order["seconds"], order["per_s"], place / count) for place, device in enumerate(made)]
        )
        return [wait for waits in all_waits for wait in waits]

    try:
        await serve(run)
    finally:
        await asyncio.gather(*[device.close() for device in made])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
