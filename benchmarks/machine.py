"""The machine: ports, waiting, and what a benchmark was measured on."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

PACKAGES = ("onnxruntime", "ai-edge-litert", "numpy", "paho-mqtt", "grpcio", "protobuf")
BUSY_LOAD = 0.5
"""A load average per core, before anything is measured, from which on the figures are not to be believed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], object], why: str, within_s: float = 30.0, step_s: float = 0.02) -> None:
    give_up_at = time.monotonic() + within_s
    while not what():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{why}: not within {within_s:g} s")
        time.sleep(step_s)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def measured_on() -> dict[str, object]:
    """To be asked before anything is measured: the load average is that of others."""
    load = os.getloadavg()[0]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load_average_before": load,
        "busy_with_other_things": load > BUSY_LOAD * len(os.sched_getaffinity(0)),
    }


def said(machine: dict[str, object]) -> str:
    """One line, for a table."""
    line = f"{machine['cores']} cores, {machine['cpu']}, {machine['machine']}, Python {machine['python']}"
    line += f"; load average before: {machine['load_average_before']:.2f}"
    if machine["busy_with_other_things"]:
        line += " - THE MACHINE WAS BUSY: measure again when it is not"
    return line


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
