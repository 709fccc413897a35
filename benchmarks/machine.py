"""The machine: ports, waiting, and what a benchmark was measured on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("onnxruntime", "ai-edge-litert", "numpy", "paho-mqtt", "grpcio", "protobuf")
BUSY = 0.1
"""Cores that other programs took meanwhile, of each core, from which on the figures are not to be believed."""
PR_SET_CHILD_SUBREAPER = 36
"""Of Linux: what a server leaves behind when it ends becomes a child of ours, and its time is known as ours."""
TICKS = os.sysconf("SC_CLK_TCK")


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
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load_average_before": os.getloadavg()[0],
    }


class OtherPrograms:
    """What the machine did that was not this benchmark, from when it is made. All that the benchmark started has to
    have ended when it is asked: the time of its processes is known from then on."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._began, self._machine, self._ours = time.monotonic(), _machine_s(), _ours_s()

    def meanwhile(self) -> dict[str, float | bool]:
        _reap()
        took_s = time.monotonic() - self._began
        busy_s, stolen_s = (now - then for now, then in zip(_machine_s(), self._machine, strict=True))
        others = max(0.0, busy_s - (_ours_s() - self._ours)) / took_s
        cores = len(os.sched_getaffinity(0))
        return {
            "took_s": round(took_s, 1),
            "others_cores": round(others, 3),
            "stolen_cores": round(stolen_s / took_s, 3),
            "too_busy": others + stolen_s / took_s > BUSY * cores,
        }


def said(machine: dict[str, Any], meanwhile: dict[str, Any]) -> str:
    """One line, for a table."""
    line = f"{machine['cores']} cores, {machine['cpu']}, {machine['machine']}, Python {machine['python']}"
    line += f"; other programs took {meanwhile['others_cores']:.2f} cores meanwhile"
    return f"{line} - TOO BUSY: measure again when it is not" if meanwhile["too_busy"] else line


def _machine_s() -> tuple[float, float]:
    """Busy, and stolen by other guests of the host."""
    user, nice, system, _idle, _wait, irq, soft, stolen = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + soft) / TICKS, stolen / TICKS


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _ours_s() -> float:
    return sum(os.times()[:4])


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
