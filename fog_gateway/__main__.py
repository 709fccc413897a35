"""`fog-gateway --config fog.toml`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from cascade.adapters.daemon import run_daemon
from cascade.adapters.tier_needs import check_needs
from cascade.errors import LinkError
from fog_gateway.settings import FogSettings

if TYPE_CHECKING:
    from fog_gateway.gateway import FogGateway


async def serve(settings: FogSettings, told: asyncio.Event, where: str) -> None:
    check_needs("fog")
    from fog_gateway.gateway import FogGateway  # on use: it is gRPC's, and where that is missing we have just said so

    gateway = FogGateway(settings, where=where)
    try:
        await _start(gateway, where)
        await gateway.loop.shell.drive.until(told)
    finally:
        await gateway.stop()


async def _start(gateway: FogGateway, where: str) -> None:
    """A port that is taken is told with the file that names it."""
    try:
        await gateway.start()
    except LinkError as error:
        raise LinkError(f"{where}: {error}") from error


def main() -> None:
    about = "Answers what the devices of one site could not, and asks the cloud about the rest."
    sys.exit(run_daemon("fog-gateway", about, FogSettings, serve))


if __name__ == "__main__":
    main()
