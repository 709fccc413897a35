"""`edge-agent --config edge.toml`."""

from __future__ import annotations

import asyncio
import sys

from cascade.adapters.daemon import run_daemon
from cascade.errors import SettingsError
from edge_agent.agent import EdgeAgent
from edge_agent.settings import EdgeSettings


async def serve(settings: EdgeSettings, told: asyncio.Event, where: str) -> None:
    if settings.silent_streams:
        raise SettingsError(where, settings.silent_streams)
    agent = EdgeAgent(settings, where=where)
    try:
        await agent.start()
        await agent.run_until(told)
    finally:
        await agent.stop()


def main() -> None:
    about = "Answers questions about the samples of this device, and asks its gateway about what it is not sure of."
    sys.exit(run_daemon("edge-agent", about, EdgeSettings, serve))


if __name__ == "__main__":
    main()
