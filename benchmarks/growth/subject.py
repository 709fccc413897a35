"""How cost grows: 1, 10, 100 and 1,000 simulated devices on one gateway, below a cloud.

    python -m benchmarks.growth [--rounds N] [--quick] [--out FILE.json]

Each device has its own name and its own connection to the broker, and one question in flight. Twice: each asks again as
soon as it is answered, so that the gateway is always busy; and each asks once a second, as a fleet does. Half of what
comes climbs on to the cloud. All processes share one machine, so the devices take CPU that the gateway could have had:
whose CPU it was is told. For each size cloud, gateway and broker start anew.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import Subject
from benchmarks.crew import Crew
from benchmarks.growth.picture import Panel, drawn
from benchmarks.models import write_cnn_release
from benchmarks.ours import OurTiers
from benchmarks.processes import Processes, cpu_s, memory_mib
from benchmarks.rounds import Effort, Tell, quantile

SIZES = (1, 10, 100, 1000)
PROCESSES = 2
BUSY_S, PACED_S, PER_S = 5.0, 10.0, 1.0
BUSY, PACED = "asks again at once", "asks once a second"


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    result = {}
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as name:
        release = write_cnn_release(Path(name) / "release")
        for size in effort.some(SIZES):
            folder = Path(name) / str(size)
            folder.mkdir()
            result[str(size)] = _size(folder, release, size, effort)
            busy, paced = result[str(size)][BUSY], result[str(size)][PACED]
            tell(f"  {size}: {busy['per_s']:.0f}/s, p99 {busy['p99_ms']:.1f} ms; paced p99 {paced['p99_ms']:.1f} ms")
    return result


def _size(folder: Path, release: Path, size: int, effort: Effort) -> dict[str, Any]:
    processes = Processes(folder)
    try:
        port = processes.mosquitto()
        tiers = OurTiers(processes, release)
        cloud, gateway = tiers.start_cloud(), tiers.start_gateway(port)
        crew = Crew(processes, "devices", _members(size, port, release))
        who = {
            "devices": crew.pids,
            "broker": processes.pids("mosquitto"),
            "gateway": processes.pids(gateway),
            "cloud": processes.pids(cloud),
        }
        crew.run({"seconds": 1.0, "per_s": 0})
        paced = [_turn(crew, who, effort.seconds(PACED_S), PER_S) for _ in range(effort.rounds)]
        busy = [_turn(crew, who, effort.seconds(BUSY_S), 0.0) for _ in range(effort.rounds)]
        memory = memory_mib(processes.running[gateway].pid)
        return {BUSY: _medians(busy), PACED: _medians(paced), "gateway_mib": memory}
    finally:
        processes.stop()


def _members(size: int, port: int, release: Path) -> list[list[str]]:
    each = max(1, size // PROCESSES)
    firsts = range(0, size, each)
    return [["-m", "benchmarks.growth.devices", str(first), str(each), str(port), str(release)] for first in firsts]


def _turn(crew: Crew, who: dict[str, list[int]], seconds: float, per_s: float) -> dict[str, float]:
    before, began = {name: cpu_s(pids) for name, pids in who.items()}, time.perf_counter()
    waits = crew.run({"seconds": seconds, "per_s": per_s})
    took_s = time.perf_counter() - began
    cores = {f"{name}_cores": (cpu_s(pids) - before[name]) / took_s for name, pids in who.items()}
    return {
        "per_s": len(waits) / took_s,
        "p50_ms": quantile(waits, 0.5) * 1000.0,
        "p99_ms": quantile(waits, 0.99) * 1000.0,
        **cores,
    }


def _medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(turn[key] for turn in turns) for key in turns[0]}


def table(result: dict[str, Any]) -> str:
    lines = [
        f"  {'':>7} {'each ' + BUSY:>48}   {'each ' + PACED:>23} {'gateway, MiB':>18}",
        f"  {'devices':>7} {'questions/s':>12} {'p50 ms':>8} {'p99 ms':>8} {'gateway, of a core':>19} "
        f"{'p50 ms':>10} {'p99 ms':>8} {'core':>6} {'RSS':>10} {'PSS':>7}",
    ]
    for size, row in result.items():
        busy, paced, memory = row[BUSY], row[PACED], row["gateway_mib"]
        cells = f"{busy['per_s']:12.0f} {busy['p50_ms']:8.2f} {busy['p99_ms']:8.2f} {busy['gateway_cores']:19.0%}"
        more = f"{paced['p50_ms']:10.2f} {paced['p99_ms']:8.2f} {paced['gateway_cores']:6.1%}"
        lines.append(f"  {size:>7} {cells} {more} {memory['rss']:10.1f} {memory['pss']:7.1f}")
    return "\n".join(lines)


def picture(report: dict[str, Any]) -> str:
    result = report["result"]
    sizes = [int(size) for size in result]

    def line(kind: str, key: str) -> list[float]:
        return [float(row[kind][key]) for row in result.values()]

    panels = [
        Panel("questions a second", {BUSY: line(BUSY, "per_s"), PACED: line(PACED, "per_s")}),
        Panel("p99, ms", {BUSY: line(BUSY, "p99_ms"), PACED: line(PACED, "p99_ms")}),
        Panel("memory of the gateway, MiB", {"RSS": line("gateway_mib", "rss")}, from_zero=True),
    ]
    machine = report["measured_on"]
    about = f"one gateway; all processes on one machine with {machine['cores']} cores ({machine['cpu']})"
    return drawn("devices on one gateway", sizes, panels, about)


SUBJECT = Subject("growth", "How cost grows: devices on one gateway", measure, table, rounds=3, picture=picture)
