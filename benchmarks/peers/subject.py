"""Our cloud beside the usual model servers, on the same model, 32 questions in flight.

    python -m benchmarks.peers [--rounds N] [--quick] [--only NAME …] [--out FILE.json]

In each round each server in turn is started, asked and ended, so that none is in the way of another. What asks is a
process of its own, and its CPU is told apart. Ours is asked twice: by one gateway, whose link packs what waits, as it
does in the field; and by 32 gateways with one question each, so that nothing can be packed. A peer is asked over 32
connections, or by 32 calls on one channel: it has no link of its own that could pack.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.command import Subject
from benchmarks.crew import Crew
from benchmarks.machine import free_port, listens, wait_for
from benchmarks.models import write_cnn_release
from benchmarks.ours import OurTiers
from benchmarks.peers.install import environment_of, install
from benchmarks.peers.load import OURS
from benchmarks.peers.peers import PEERS, SERVERS, Peer, mlserver_settings
from benchmarks.peers.servers.model import PATH
from benchmarks.processes import Processes, cpu_s, end_tree, memory_mib, tree_of
from benchmarks.rounds import Effort, Tell, quantile

IN_FLIGHT = 32
MEASURED_S, LEAST = 4.0, 320
OURS_PACKED, OURS_ALONE = "cascade, one gateway", "cascade, 32 gateways"
GATEWAYS = {OURS_PACKED: 1, OURS_ALONE: 32}
LOAD = ["-m", "benchmarks.peers.load"]


class Turn(NamedTuple):
    """Of one server in one round."""

    per_s: float
    server_cpu_s_per_1000: float
    client_cpu_s_per_1000: float
    p50_ms: float
    p99_ms: float
    server_pss_mib: float
    ready_s: float


def measure(effort: Effort, tell: Tell, only: list[str] | None = None) -> dict[str, Any]:
    names = only or [OURS_PACKED, OURS_ALONE, *[peer.name for peer in PEERS]]
    skipped: dict[str, str] = {}
    for peer in PEERS:
        if peer.name in names and (why := install(peer)):
            skipped[peer.name] = why
            tell(f"  {peer.name}: skipped: {why}")
    turns: dict[str, list[Turn]] = {name: [] for name in names if name not in skipped}
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as folder:
        release = write_cnn_release(Path(folder) / "release")
        for number in range(effort.rounds):
            for place, name in list(enumerate(turns))[:: 1 if number % 2 == 0 else -1]:
                try:
                    turns[name].append(_turn(name, Path(folder) / f"{number}-{place}", release, effort))
                    tell(f"  round {number + 1}, {name}: {turns[name][-1].per_s:.0f}/s")
                except (RuntimeError, TimeoutError) as error:  # a peer that fails here is no reason to lose the others
                    skipped[name] = str(error)
                    del turns[name]
                    tell(f"  {name}: skipped: {error}")
    return {"in_flight": IN_FLIGHT, "servers": _summary(turns), "skipped": skipped, "settings": _settings(turns)}


def _turn(name: str, folder: Path, release: Path, effort: Effort) -> Turn:
    folder.mkdir()
    processes, began = Processes(folder), time.perf_counter()
    try:
        if name in GATEWAYS:
            tiers = OurTiers(processes, release)
            server = tiers.start_cloud()
            arguments = [OURS, str(tiers.cloud_port), str(release), str(GATEWAYS[name])]
        else:
            peer = next(peer for peer in PEERS if peer.name == name)
            server, port = _start(peer, processes, release)
            arguments = [name, str(port)]
        return _measured(processes, server, arguments, effort, began)
    finally:
        left = [pid for each in processes.running.values() for pid in tree_of(each.pid)[1:]]
        processes.stop()
        end_tree(left)


def _start(peer: Peer, processes: Processes, release: Path) -> tuple[str, int]:
    port, folder = free_port(), environment_of(peer)
    if peer.package == "mlserver":
        for file, content in mlserver_settings(port, free_port()).items():
            (processes.folder / file).write_text(json.dumps(content))
    words = {"python": folder / "bin/python", "bin": folder / "bin", "port": port, "folder": processes.folder}
    more = {PATH: str(release / "cloud" / "model.onnx"), "PYTHONPATH": str(SERVERS), "OMP_NUM_THREADS": "1"}
    more["RAY_TMPDIR"] = str(processes.folder)  # which must be short: Ray puts sockets into it
    processes.start(
        peer.package,
        *[word.format(**words) for word in peer.command],
        cwd=SERVERS,
        environment={**more, **peer.environment, "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', '')}"},
    )
    up = lambda: processes.must_live(peer.package) and listens(port)  # noqa: E731
    wait_for(up, f"{peer.name}, of which the log says {processes.log(peer.package)[-500:]}", peer.starts_within_s)
    return peer.package, port


def _measured(processes: Processes, server: str, arguments: list[str], effort: Effort, began: float) -> Turn:
    load = _answered(processes, arguments)
    ready_s = time.perf_counter() - began
    tree = tree_of(processes.running[server].pid)
    warm = time.perf_counter()
    count = effort.of(LEAST, IN_FLIGHT)
    load.run({"in_flight": IN_FLIGHT, "count": count})
    rate = count / (time.perf_counter() - warm)
    count = max(count, int(rate * effort.seconds(MEASURED_S)) // IN_FLIGHT * IN_FLIGHT)
    before, start = (cpu_s(tree), cpu_s(load.pids)), time.perf_counter()
    waits = load.run({"in_flight": IN_FLIGHT, "count": count})
    took_s = time.perf_counter() - start
    return Turn(
        per_s=len(waits) / took_s,
        server_cpu_s_per_1000=(cpu_s(tree) - before[0]) / len(waits) * 1000.0,
        client_cpu_s_per_1000=(cpu_s(load.pids) - before[1]) / len(waits) * 1000.0,
        p50_ms=quantile(waits, 0.5) * 1000.0,
        p99_ms=quantile(waits, 0.99) * 1000.0,
        server_pss_mib=sum(memory_mib(pid)["pss"] for pid in tree),
        ready_s=ready_s,
    )


def _answered(processes: Processes, arguments: list[str]) -> Crew:
    """A server that listens may not answer yet: the load asks once before it says that it is ready."""
    give_up_at = time.monotonic() + 60.0
    while True:
        try:
            return Crew(processes, "load", [[*LOAD, *arguments]])
        except RuntimeError:
            processes.stop("load-0")
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.3)


def _summary(turns: dict[str, list[Turn]]) -> dict[str, dict[str, float]]:
    made = {}
    for name, rounds in turns.items():
        made[name] = {field: median(getattr(turn, field) for turn in rounds) for field in Turn._fields}
        for ours in GATEWAYS:
            if ours in turns and name not in GATEWAYS:
                pairs = list(zip(turns[ours], rounds, strict=False))
                made[name][f"{ours}: times"] = median(a.per_s / b.per_s for a, b in pairs)
                made[name][f"{ours}: share of CPU"] = median(
                    a.server_cpu_s_per_1000 / max(b.server_cpu_s_per_1000, 1e-9) for a, b in pairs
                )
    return made


def _settings(turns: dict[str, list[Turn]]) -> dict[str, str]:
    return {peer.name: f"{peer.requirements[0]}: {peer.settings}" for peer in PEERS if peer.name in turns}


def table(result: dict[str, Any]) -> str:
    lines = [
        f"  {'':>31} {'CPU s per 1,000':>17} {'':>31}  ours to it: times, share of server CPU",
        f"  {'server':>21} {'answers/s':>9} {'server':>9} {'client':>7} {'p50 ms':>8} {'p99 ms':>6} {'PSS MiB':>8} "
        f"{'ready s':>7} {'one gateway':>17} {'32 gateways':>15}",
    ]
    for name, row in result["servers"].items():
        beside = [
            f"{row[f'{ours}: times']:9.1f} {row[f'{ours}: share of CPU']:6.2f}" if f"{ours}: times" in row else ""
            for ours in GATEWAYS
        ]
        lines.append(
            f"  {name:>21} {row['per_s']:9.0f} {row['server_cpu_s_per_1000']:9.3f} {row['client_cpu_s_per_1000']:7.3f} "
            f"{row['p50_ms']:8.2f} {row['p99_ms']:6.1f} {row['server_pss_mib']:8.0f} {row['ready_s']:7.1f} "
            f"{beside[0]:>17} {beside[1]:>15}"
        )
    lines += [f"  {name}: {said}" for name, said in result["settings"].items()]
    lines += [f"  {name}: skipped: {why.splitlines()[0]}" for name, why in result["skipped"].items()]
    return "\n".join(lines)


SUBJECT = Subject("peers", "Our cloud beside the usual model servers", measure, table, rounds=3)
