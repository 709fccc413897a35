"""This cascade beside a hand-written one: the same models, the same rates, in turn, in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.against_handwritten import busy, fleet, latency
from benchmarks.against_handwritten.systems import Handwritten, Ours, closed
from benchmarks.command import Subject
from benchmarks.models import write_cnn_release
from benchmarks.processes import Processes
from benchmarks.rounds import Effort, Tell


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cascade-bench-") as name:
        folder = Path(name)
        release = write_cnn_release(folder / "release")
        return {**_one_agent(folder, release, effort, tell), "fleet": _fleet(folder, release, effort, tell)}


def _one_agent(folder: Path, release: Path, effort: Effort, tell: Tell) -> dict[str, Any]:
    processes, closing = Processes(folder), list[Callable[[], None]]()
    try:
        port = processes.mosquitto()
        ours = Ours(processes, release, port)
        closing.append(ours.close)
        nodelay, plain = (Handwritten(processes, release, port, nodelay=form) for form in (True, False))
        closing += [nodelay.close, plain.close]
        return {
            "in_flight": busy.measure(ours, nodelay, plain, effort, tell),
            "latency": latency.measure(ours, nodelay, plain, effort, tell),
        }
    finally:
        closed(closing)
        processes.stop()


def _fleet(folder: Path, release: Path, effort: Effort, tell: Tell) -> dict[str, Any]:
    processes = Processes(folder)
    try:
        return fleet.measure(processes, release, processes.mosquitto(), effort, tell)
    finally:
        processes.stop()


def table(result: dict[str, Any]) -> str:
    parts = [busy.table(result["in_flight"]), latency.table(result["latency"]), fleet.table(result["fleet"])]
    return "\n\n".join(parts)


SUBJECT = Subject("against_handwritten", "Beside a hand-written cascade", measure, table)
