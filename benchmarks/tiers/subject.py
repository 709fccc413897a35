"""The gateway beside a bare broker, the cloud beside a bare gRPC echo: what each adds to the link that it sits on.

3,136 bytes a question. Ours answers with a model that takes no time (a script), and is asked through its own link,
which packs what waits into one message; the echoes say back what they heard, a message each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.against_handwritten.systems import closed
from benchmarks.command import Subject
from benchmarks.light_device import LightDevice, mqtt_link, release_name, samples_of
from benchmarks.machine import free_port, listens, wait_for
from benchmarks.models import inputs, write_cnn_release
from benchmarks.ours import SITE, LoopThread, OurTiers
from benchmarks.processes import Processes
from benchmarks.rounds import Effort, System, Tell, compared, in_turn
from benchmarks.tiers.bare_links import BareBroker, BareGrpc
from benchmarks.tiers.echoes import SUBSCRIBED
from cascade.adapters.transports.grpc_above import GrpcAbove
from cascade.adapters.transports.grpc_channel import GrpcAboveSettings
from cascade.adapters.transports.transport import Above

QUESTIONS = {1: 600, 32: 4000, 256: 8000}
GATEWAY, CLOUD = "our gateway", "our cloud"
PROGRAM = ("-m", "benchmarks.tiers.echoes")


class OurTier:
    """A tier of ours behind its link. The loop is in a thread, and all that is timed is on it."""

    def __init__(
        self, name: str, thread: LoopThread, above: Callable[[], Above], release: Path, pids: list[int]
    ) -> None:
        self.name, self._thread = name, thread
        self.pids = [os.getpid(), *pids]
        self._device = thread.call(self._opened(above, release))

    async def _opened(self, above: Callable[[], Above], release: Path) -> LightDevice:
        device = LightDevice("device", above(), release_name(release), samples_of(inputs()))
        await device.open()
        return device

    def run(self, in_flight: int, count: int) -> list[float]:
        return self._thread.call(self._device.run(in_flight, count))

    def close(self) -> None:
        self._thread.call(self._device.close())


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as name:
        processes, thread = Processes(Path(name)), LoopThread()
        closing: list[Callable[[], None]] = [thread.close]
        release = write_cnn_release(Path(name) / "release", "scripted")
        try:
            return {
                "gateway": _loads(_gateway(processes, thread, release, closing), GATEWAY, effort, tell),
                "cloud": _loads(_cloud(processes, thread, release, closing), CLOUD, effort, tell),
            }
        finally:
            closed(closing)
            processes.stop()


def _loads(systems: list[System], ours: str, effort: Effort, tell: Tell) -> dict[str, Any]:
    tell(f"  {', '.join(system.name for system in systems)}")
    return {
        str(load): compared(in_turn(systems, load, effort.of(QUESTIONS[load], load), effort, tell), ours)
        for load in effort.some(tuple(QUESTIONS))
    }


def _gateway(
    processes: Processes, thread: LoopThread, release: Path, closing: list[Callable[[], None]]
) -> list[System]:
    port = processes.mosquitto()
    gateway = OurTiers(processes, release).start_gateway(port, asks_the_cloud=False)
    processes.python("echo", *PROGRAM, "broker", str(port))
    wait_for(lambda: processes.must_live("echo") and SUBSCRIBED in processes.log("echo"), "the echo")
    ours = OurTier(GATEWAY, thread, lambda: mqtt_link("device", port), release, processes.pids(gateway, "mosquitto"))
    bare = BareBroker(port, inputs(1)[0].tobytes(), processes.pids("echo", "mosquitto"))
    closing += [ours.close, bare.close]
    return [ours, bare]


def _cloud(processes: Processes, thread: LoopThread, release: Path, closing: list[Callable[[], None]]) -> list[System]:
    tiers = OurTiers(processes, release)
    cloud = tiers.start_cloud()
    port = free_port()
    processes.python("grpc-echo", *PROGRAM, "grpc", str(port))
    wait_for(lambda: processes.must_live("grpc-echo") and listens(port), "the gRPC echo")
    settings = GrpcAboveSettings("127.0.0.1", tiers.cloud_port, f"{SITE}.gateway", insecure_ok=True)
    ours = OurTier(CLOUD, thread, lambda: GrpcAbove(settings), release, processes.pids(cloud))
    payload, pids = inputs(1)[0].tobytes(), processes.pids("grpc-echo")
    stream, unary = (BareGrpc(thread, port, payload, pids, stream=form) for form in (True, False))
    closing += [ours.close, stream.close, unary.close]
    return [ours, stream, unary]


def table(result: dict[str, Any]) -> str:
    lines = []
    for tier, loads in result.items():
        heads = f"{'questions/s':>12} {'p50 ms':>8} {'CPU s per 1,000':>16}   ours to it: times, CPU"
        lines.append(f"  {tier + ', in flight':>25} {heads}")
        for load, row in loads.items():
            for name, figures in row["medians"].items():
                ratio = row["ours_beside"].get(name)
                said = f"{ratio['times_as_many_per_s']:18.2f} {ratio['share_of_its_cpu']:6.2f}" if ratio else ""
                lines.append(
                    f"  {name:>21} {load:>3} {figures['per_s']:12.0f} {figures['p50_ms']:8.2f} "
                    f"{figures['cpu_s_per_1000']:16.3f} {said}"
                )
    return "\n".join(lines)


SUBJECT = Subject("tiers", "Each tier beside the bare link under it", measure, table)
