"""This cascade beside a hand-written one: the same models, the same rates, in turn, in one run.

    python -m benchmarks.against_handwritten [--rounds 5] [--out FILE.json]

Ours runs with all that users get: trail, metrics, spool (`batched`, corrections wanted), journal. Both send raw floats.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.handwritten import SUBSCRIBED, Device
from benchmarks.machine import Processes, cpu_s, free_port, listens, measured_on, wait_for
from benchmarks.models import TENSOR, inputs, write_cnn_release
from edge_agent import EdgeAgent

IN_FLIGHT = (1, 32, 256)
QUESTIONS = {1: 400, 32: 3000, 256: 6000}
"""In one measurement, of ours and of the other."""


class Figures(NamedTuple):
    per_s: float
    cpu_s_per_1000: float
    p50_ms: float


class Ours:
    """Our three processes' worth: cloud and gateway beside, the agent in this process, on a loop in a thread."""

    name = "cascade"

    def __init__(self, folder: Path, release: Path, processes: Processes, broker_port: int) -> None:
        self._processes = processes
        cloud_port, metrics = free_port(), free_port()
        (folder / "cloud.toml").write_text(
            f'[service]\nstate_dir = "cloud"\n[below]\nport = {cloud_port}\ninsecure_ok = true\n'
            f'require_client_cert = false\n[[tasks]]\nname = "bench"\nrelease = "{release}"\n'
        )
        (folder / "fog.toml").write_text(
            f'[gateway]\nname = "bench.gw"\nsite = "bench"\nstate_dir = "fog"\n[below]\nhost = "127.0.0.1"\n'
            f'port = {broker_port}\n[above]\nhost = "127.0.0.1"\nport = {cloud_port}\ninsecure_ok = true\n'
            f'[metrics]\nport = {metrics}\n[[tasks]]\nname = "bench"\nrelease = "{release}"\n'
        )
        (folder / "edge.toml").write_text(
            f'[device]\nname = "bench.dev"\nstate_dir = "edge"\n[above]\nhost = "127.0.0.1"\nport = {broker_port}\n'
            f'[above.asking]\nin_flight = 1024\n[[tasks]]\nname = "bench"\nrelease = "{release}"\n'
            f'[[streams]]\nname = "s"\ntask = "bench"\nanswers = "asker"\ndurability = "batched"\nencoding = "none"\n'
            f'deadline_ms = 20000\nkeep_asking_s = 60\n[ask_socket]\npath = "{folder}/ask"\n'
            f'[journal]\npath = "{folder}/journal"\n'
        )
        processes.python("cloud", "-m", "cloud_service", "--config", str(folder / "cloud.toml"))
        wait_for(lambda: listens(cloud_port), "cloud")
        processes.python("fog", "-m", "fog_gateway", "--config", str(folder / "fog.toml"))
        wait_for(lambda: listens(metrics), "gateway")
        self.pids = [os.getpid(), *[processes.running[name].pid for name in ("cloud", "fog", "mosquitto")]]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._agent = EdgeAgent.from_settings(folder / "edge.toml")
        self._call(self._agent.start())
        image = inputs(4)[3]
        wait_for(lambda: self._call(self._agent.ask({TENSOR: image}, final=True)).tier == "cloud", "the first answer")

    def run(self, in_flight: int, count: int) -> list[float]:
        return self._call(self._run(in_flight, count))

    async def _run(self, in_flight: int, count: int) -> list[float]:
        samples, numbers, waits = inputs(), iter(range(count)), []

        async def ask() -> None:
            for number in numbers:
                began = time.perf_counter()
                answer = await self._agent.ask({TENSOR: samples[number % 64]}, final=True)
                assert answer.label == "3", answer
                waits.append(time.perf_counter() - began)

        await asyncio.gather(*[ask() for _ in range(in_flight)])
        return waits

    def close(self) -> None:
        self._call(self._agent.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Handwritten:
    """The other one: its cloud and its gateway beside, its device in this process."""

    def __init__(self, release: Path, processes: Processes, broker_port: int, nodelay: bool) -> None:
        self.name = "handwritten, TCP_NODELAY" if nodelay else "handwritten, as paho comes"
        tag, more = ("-nodelay", ["nodelay"]) if nodelay else ("", [])
        port = free_port()
        program = ("-m", "benchmarks.handwritten")
        models = {tier: str(release / tier / "model.onnx") for tier in ("edge", "fog", "cloud")}
        processes.python(f"hand-cloud{tag}", *program, "cloud", models["cloud"], str(port))
        wait_for(lambda: listens(port), "the hand-written cloud")
        processes.python(f"hand-fog{tag}", *program, "gateway", models["fog"], str(broker_port), str(port), *more)
        names = (f"hand-cloud{tag}", f"hand-fog{tag}", "mosquitto")
        self.pids = [os.getpid(), *[processes.running[name].pid for name in names]]
        self._device = Device(models["edge"], broker_port, nodelay)
        log = processes.folder / f"hand-fog{tag}.log"
        wait_for(lambda: SUBSCRIBED in log.read_text(), "the hand-written gateway")
        self._device.ask(inputs(4)[3])

    def run(self, in_flight: int, count: int) -> list[float]:
        samples, waits = inputs(), []

        def ask(number: int) -> None:
            began = time.perf_counter()
            assert self._device.ask(samples[number % 64]) == 3
            waits.append(time.perf_counter() - began)

        with ThreadPoolExecutor(in_flight) as pool:
            for done in [pool.submit(ask, number) for number in range(count)]:
                done.result()
        return waits

    def close(self) -> None:
        self._device.close()


def measured(system: Any, in_flight: int, count: int) -> Figures:
    gc.collect()
    before, began = cpu_s(system.pids), time.perf_counter()
    waits = system.run(in_flight, count)
    took = time.perf_counter() - began
    return Figures(count / took, (cpu_s(system.pids) - before) / count * 1000.0, median(waits) * 1000.0)


def compare(rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as name:
        folder = Path(name)
        processes = Processes(folder)
        release = write_cnn_release(folder / "release")
        closing: list[Callable[[], None]] = []
        try:
            port = processes.mosquitto()
            ours = Ours(folder, release, processes, port)
            closing.append(ours.close)
            theirs = Handwritten(release, processes, port, nodelay=True)
            closing.append(theirs.close)
            plain = Handwritten(release, processes, port, nodelay=False)
            closing.append(plain.close)
            return {str(load): _rounds(ours, theirs, plain, load, rounds, tell) for load in IN_FLIGHT}
        finally:
            for close in reversed(closing):
                close()
            processes.stop()


def _rounds(ours: Any, theirs: Any, plain: Any, load: int, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    for system in (ours, theirs):
        system.run(load, QUESTIONS[load] // 4)
    pairs = []
    for number in range(rounds):
        pairs.append((measured(ours, load, QUESTIONS[load]), measured(theirs, load, QUESTIONS[load])))
        tell(f"{load} in flight, round {number + 1}: {pairs[-1][0].per_s:.0f}/s beside {pairs[-1][1].per_s:.0f}/s")
    as_paho_comes = measured(plain, load, min(200, QUESTIONS[load]))
    return {
        "ours": _medians([pair[0] for pair in pairs]),
        "handwritten_nodelay": _medians([pair[1] for pair in pairs]),
        "handwritten_as_paho_comes": as_paho_comes._asdict(),
        "times_as_many_per_s": median(pair[0].per_s / pair[1].per_s for pair in pairs),
        "share_of_its_cpu": median(pair[0].cpu_s_per_1000 / pair[1].cpu_s_per_1000 for pair in pairs),
    }


def _medians(figures: list[Figures]) -> dict[str, float]:
    return {name: median(getattr(one, name) for one in figures) for name in Figures._fields}


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{'in flight':>9} {'ours /s':>9} {'theirs /s':>9} {'times':>6} {'CPU':>6}   ms ours, theirs, as paho comes"
    ]
    for load, row in result.items():
        ms = " ".join(
            f"{row[who]['p50_ms']:8.2f}" for who in ("ours", "handwritten_nodelay", "handwritten_as_paho_comes")
        )
        lines.append(
            f"{load:>9} {row['ours']['per_s']:9.0f} {row['handwritten_nodelay']['per_s']:9.0f} "
            f"{row['times_as_many_per_s']:6.2f} {row['share_of_its_cpu']:6.2f}   {ms}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    result = compare(wanted.rounds, print)
    print(table(result))
    if wanted.out:
        wanted.out.write_text(json.dumps({"measured_on": measured_on(), "in_flight": result}, indent=2) + "\n")
