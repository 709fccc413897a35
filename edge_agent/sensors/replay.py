"""Samples from files, as if a sensor gave them: for trying out, for demonstrations, for measuring."""

from __future__ import annotations

import asyncio
from itertools import count

from edge_agent.sensors.recordings import Recording, open_recording
from edge_agent.sensors.sensor import Emit, Running
from edge_agent.sensors.sensor_settings import ReplayTable

BREATH = 32
"""Without a rate: after so many samples the loop's other work gets its turn."""


class ReplaySensor:
    """Loses nothing: when the agent has no room it waits, and the rate slips instead of being caught up in a burst."""

    def __init__(self, name: str, settings: ReplayTable) -> None:
        self.name = name
        self._settings = settings
        self._running = Running()

    async def start(self, emit: Emit) -> None:
        recording = await asyncio.to_thread(open_recording, self._settings)
        self._running.start(self._replay(recording, emit), f"sensor {self.name}")

    async def ended(self) -> None:
        await self._running.ended()

    async def stop(self) -> None:
        await self._running.stop()

    async def _replay(self, recording: Recording, emit: Emit) -> None:
        clock, settings = asyncio.get_running_loop().time, self._settings
        period_s = 1.0 / settings.rate_hz if settings.rate_hz else 0.0
        next_at = clock()
        for given in count():
            if given == (settings.limit or -1) or (given >= recording.samples and not settings.repeat):
                return
            index = given % recording.samples
            sample = await asyncio.to_thread(recording.read, index) if recording.slow else recording.read(index)
            if period_s:
                await asyncio.sleep(max(0.0, next_at - clock()))
                next_at = max(next_at + period_s, clock())
            elif given % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            await emit(sample)
