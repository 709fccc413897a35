"""256 agents with one question each: nothing can be packed. Each device has its own connection and its own model.

A few processes hold the devices of either side, on one asyncio loop each: with a thread per device, as paho comes, the
hand-written ones get in each other's way as devices far apart never do. Ours are whole agents as programs use them, but
with `memory` streams and without a journal: 256 spools on one disk would be measured, of which each device has one.
What the site takes (broker, gateway, cloud) is also told alone: in the field the devices have CPUs of their own.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.against_handwritten.systems import NODELAY, OURS, TheirTiers
from benchmarks.crew import Crew
from benchmarks.ours import OurTiers
from benchmarks.processes import Processes, cpu_s
from benchmarks.rounds import Effort, Figures, Tell, compared, in_turn

DEVICES, PROCESSES, QUESTIONS = 256, 8, 6000
"""In fewer processes a turn of a loop is so long that the devices of it wait for each other, ours more than theirs."""
PROGRAM = "benchmarks.against_handwritten.fleet_devices"


class Fleet:
    """Devices in a few processes, and the site that they ask."""

    def __init__(self, name: str, crew: Crew, site_pids: list[int], devices: int) -> None:
        self.name, self._crew, self._devices = name, crew, devices
        self.site_pids = site_pids
        self.pids = [*crew.pids, *site_pids]
        self.site_cpu_s_per_1000: list[float] = []

    def run(self, in_flight: int, count: int) -> list[float]:
        before = cpu_s(self.site_pids)
        waits = self._crew.run({"each": max(1, count // self._devices)})
        self.site_cpu_s_per_1000.append((cpu_s(self.site_pids) - before) / len(waits) * 1000.0)
        return waits


def measure(processes: Processes, release: Path, broker_port: int, effort: Effort, tell: Tell) -> dict[str, Any]:
    devices, processes_of_devices = (16, 2) if effort.quick else (DEVICES, PROCESSES)
    tiers = OurTiers(processes, release, "fleet")
    ours_site = processes.pids(tiers.start_cloud(), tiers.start_gateway(broker_port), "mosquitto")
    theirs = TheirTiers(processes, release, broker_port, nodelay=True)
    each = devices // processes_of_devices
    shares = [(number * each, each) for number in range(processes_of_devices)]
    arguments = [["-m", PROGRAM, "{}", str(first), str(count), str(broker_port)] for first, count in shares]
    for first, _ in shares:
        tiers.edge_settings(f"fleet{first}", durability="memory", stream="deadline_ms = 20000\n")
    crews = [
        Crew(processes, "fleet-ours", [_filled(each, "ours", str(tiers.folder)) for each in arguments]),
        Crew(processes, "fleet-theirs", [_filled(each, "theirs", theirs.models["edge"]) for each in arguments]),
    ]
    fleets = (Fleet(OURS, crews[0], ours_site, devices), Fleet(NODELAY, crews[1], theirs.pids, devices))
    figures = in_turn(fleets, devices, effort.of(QUESTIONS, 2 * devices), effort, tell)
    return {"devices": devices, **compared(figures, OURS), **_site(fleets, effort)}


def _filled(arguments: list[str], kind: str, where: str) -> list[str]:
    return [kind if each == "{}" else each for each in arguments] + [where]


def _site(fleets: tuple[Fleet, Fleet], effort: Effort) -> dict[str, Any]:
    """Of the rounds that count."""
    ours, theirs = (fleet.site_cpu_s_per_1000[-effort.rounds :] for fleet in fleets)
    return {
        "site_cpu_s_per_1000": {OURS: median(ours), NODELAY: median(theirs)},
        "share_of_its_site_cpu": median(a / max(b, 1e-9) for a, b in zip(ours, theirs, strict=True)),
    }


def table(result: dict[str, Any]) -> str:
    ours, theirs = (Figures(**result["medians"][name]) for name in (OURS, NODELAY))
    ratio, site = result["ours_beside"][NODELAY], result["site_cpu_s_per_1000"]
    return "\n".join(
        [
            f"  {result['devices']} agents with one question each      ours    theirs     ratio",
            f"  {'questions/s':>32} {ours.per_s:9.0f} {theirs.per_s:9.0f} {ratio['times_as_many_per_s']:9.2f}",
            f"  {'CPU s per 1,000, all':>32} {ours.cpu_s_per_1000:9.3f} {theirs.cpu_s_per_1000:9.3f} "
            f"{ratio['share_of_its_cpu']:9.2f}",
            f"  {'broker, gateway and cloud alone':>32} {site[OURS]:9.3f} {site[NODELAY]:9.3f} "
            f"{result['share_of_its_site_cpu']:9.2f}",
            f"  {'p50 ms':>32} {ours.p50_ms:9.1f} {theirs.p50_ms:9.1f} {ratio['share_of_its_p50']:9.2f}",
            f"  {'p99 ms':>32} {ours.p99_ms:9.1f} {theirs.p99_ms:9.1f} {ours.p99_ms / theirs.p99_ms:9.2f}",
        ]
    )
