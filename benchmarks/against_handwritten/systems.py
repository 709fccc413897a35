"""The two that are compared, with one device each in this process: ours, and the hand-written one in both its forms.

Ours runs with all that users get: trail, metrics, spool (`batched`, corrections wanted), journal. Both send raw floats.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.against_handwritten.handwritten import SUBSCRIBED, Device
from benchmarks.machine import free_port, listens, wait_for
from benchmarks.models import TENSOR, inputs
from benchmarks.ours import LoopThread, OurTiers
from benchmarks.processes import Processes
from edge_agent import EdgeAgent

OURS, NODELAY, PLAIN = "cascade", "handwritten, TCP_NODELAY", "handwritten, as paho comes"
BY_TIER = {"edge": (0, 2), "fog": (1,), "cloud": (3,)}
"""Which of the inputs, of each four, a tier answers."""
RIGHT = 3
"""What every input shows."""


class Ours:
    """Cloud and gateway beside, the agent in this process, on a loop in a thread."""

    name = OURS

    def __init__(self, processes: Processes, release: Path, broker_port: int) -> None:
        tiers = OurTiers(processes, release)
        names = [tiers.start_cloud(), tiers.start_gateway(broker_port), "mosquitto"]
        self.site_pids = processes.pids(*names)
        self.pids = [os.getpid(), *self.site_pids]
        folder = tiers.folder
        settings = tiers.edge_settings(
            "device",
            stream='answers = "asker"\ndeadline_ms = 20000\nkeep_asking_s = 60\n',
            more=f'[ask_socket]\npath = "{folder}/ask"\n[journal]\npath = "{folder}/journal"\n',
        )
        self._thread = LoopThread()
        self._agent = EdgeAgent.from_settings(settings)
        self._thread.call(self._agent.start())
        wait_for(lambda: self._thread.call(self._tier_of(3)) == "cloud", "the first answer from the cloud")

    def run(self, in_flight: int, count: int) -> list[float]:
        return self._thread.call(self._run(in_flight, count, inputs()))

    def run_one_tier(self, tier: str, count: int) -> list[float]:
        return self._thread.call(self._run(1, count, [inputs(4)[number] for number in BY_TIER[tier]]))

    async def _run(self, in_flight: int, count: int, samples: list[Any]) -> list[float]:
        numbers, waits, right = iter(range(count)), list[float](), str(RIGHT)

        async def ask() -> None:
            for number in numbers:
                began = time.perf_counter()
                answer = await self._agent.ask({TENSOR: samples[number % len(samples)]}, final=True)
                waits.append(time.perf_counter() - began)
                assert answer.label == right, answer

        await asyncio.gather(*[ask() for _ in range(in_flight)])
        return waits

    async def _tier_of(self, number: int) -> str:
        return (await self._agent.ask({TENSOR: inputs(4)[number]}, final=True)).tier

    def close(self) -> None:
        self._thread.call(self._agent.stop())
        self._thread.close()


class TheirTiers:
    """The hand-written cloud and gateway, as processes."""

    def __init__(self, processes: Processes, release: Path, broker_port: int, nodelay: bool) -> None:
        tag, more = ("-nodelay", ["nodelay"]) if nodelay else ("", [])
        port, program = free_port(), ("-m", "benchmarks.against_handwritten.handwritten")
        self.models = {tier: str(release / tier / "model.onnx") for tier in ("edge", "fog", "cloud")}
        cloud, gateway = f"hand-cloud{tag}", f"hand-gateway{tag}"
        processes.python(cloud, *program, "cloud", self.models["cloud"], str(port))
        wait_for(lambda: processes.must_live(cloud) and listens(port), cloud)
        processes.python(gateway, *program, "gateway", self.models["fog"], str(broker_port), str(port), *more)
        wait_for(lambda: processes.must_live(gateway) and SUBSCRIBED in processes.log(gateway), gateway)
        self.pids = processes.pids(cloud, gateway, "mosquitto")


class Handwritten:
    """Its cloud and its gateway beside, its device in this process; as many threads ask as questions are in flight."""

    def __init__(self, processes: Processes, release: Path, broker_port: int, nodelay: bool) -> None:
        self.name = NODELAY if nodelay else PLAIN
        tiers = TheirTiers(processes, release, broker_port, nodelay)
        self.site_pids = tiers.pids
        self.pids = [os.getpid(), *tiers.pids]
        self._device = Device(tiers.models["edge"], broker_port, nodelay)
        self._device.ask(inputs(4)[3])

    def run(self, in_flight: int, count: int) -> list[float]:
        return self._run(in_flight, count, inputs())

    def run_one_tier(self, tier: str, count: int) -> list[float]:
        return self._run(1, count, [inputs(4)[number] for number in BY_TIER[tier]])

    def _run(self, in_flight: int, count: int, samples: list[Any]) -> list[float]:
        numbers, waits, wrong = iter(range(count)), list[float](), list[int]()

        def ask() -> None:
            for number in numbers:
                began = time.perf_counter()
                label = self._device.ask(samples[number % len(samples)])
                waits.append(time.perf_counter() - began)
                if label != RIGHT:
                    wrong.append(label)

        threads = [threading.Thread(target=ask) for _ in range(in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(waits) == count, f"{count - len(waits)} questions were not answered"
        assert not wrong, wrong
        return waits

    def close(self) -> None:
        self._device.close()


def closed(closing: list[Callable[[], None]]) -> None:
    """In the other direction."""
    for close in reversed(closing):
        close()
