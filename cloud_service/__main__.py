"""`cloud-service --config cloud.toml`."""

from __future__ import annotations

import asyncio
import sys

from cascade.adapters.daemon import run_daemon
from cloud_service.service import CloudService
from cloud_service.settings import CloudSettings


async def serve(settings: CloudSettings, told: asyncio.Event, where: str) -> None:
    service = CloudService(settings, where=where)
    try:
        await service.start()
        await service.loop.shell.drive.until(told)
        await service.drain()
    finally:
        await service.stop()


def main() -> None:
    about = "Answers what the gateways of all sites could not: the top of the cascade."
    sys.exit(run_daemon("cloud-service", about, CloudSettings, serve))


if __name__ == "__main__":
    main()
