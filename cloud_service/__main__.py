"""`cloud-service --config cloud.toml`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from cascade.adapters.daemon import run_daemon
from cascade.adapters.tier_needs import check_needs
from cascade.errors import LinkError
from cloud_service.settings import CloudSettings

if TYPE_CHECKING:
    from cloud_service.service import CloudService


async def serve(settings: CloudSettings, told: asyncio.Event, where: str) -> None:
    check_needs("cloud")
    from cloud_service.service import (
        CloudService,  # on use: it is gRPC's, and where that is missing we have just said so
    )

    service = CloudService(settings, where=where)
    try:
        await _start(service, where)
        await service.loop.shell.drive.until(told)
        await service.drain()
    finally:
        await service.stop()


async def _start(service: CloudService, where: str) -> None:
    """A port that is taken is told with the file that names it."""
    try:
        await service.start()
    except LinkError as error:
        raise LinkError(f"{where}: {error}") from error


def main() -> None:
    about = "Answers what the gateways of all sites could not: the top of the cascade."
    sys.exit(run_daemon("cloud-service", about, CloudSettings, serve))


if __name__ == "__main__":
    main()
