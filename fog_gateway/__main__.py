"""`fog-gateway --config fog.toml`."""

from __future__ import annotations

import asyncio
import sys

from cascade.adapters.daemon import run_daemon
from fog_gateway.gateway import FogGateway
from fog_gateway.settings import FogSettings


async def serve(settings: FogSettings, told: asyncio.Event, where: str) -> None:
    gateway = FogGateway(settings, where=where)
    try:
        await gateway.start()
        await gateway.loop.shell.drive.until(told)
    finally:
        await gateway.stop()


def main() -> None:
    about = "Answers what the devices of one site could not, and asks the cloud about the rest."
    sys.exit(run_daemon("fog-gateway", about, FogSettings, serve))


if __name__ == "__main__":
    main()
