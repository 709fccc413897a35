"""Processes of a benchmark, the CPU they take, and what it was measured on."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], object], why: str, within_s: float = 30.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not what():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{why}: not within {within_s:g} s")
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_s(pids: Sequence[int]) -> float:
    """User and system seconds of these processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Processes:
    """Started here, ended here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def python(self, name: str, *arguments: str) -> None:
        self.start(name, sys.executable, *arguments)

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1])

    def mosquitto(self) -> int:
        """A broker as it should be set up; its port."""
        found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if found is None:
            raise SystemExit("mosquitto is not installed: apt-get install mosquitto")
        port = free_port()
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "persistence false"]
        lines += ["max_inflight_messages 1000", "max_queued_messages 10000"]
        lines += ["user root"] if os.geteuid() == 0 else []
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.start("mosquitto", found, "-c", str(self.folder / "mosquitto.conf"))
        wait_for(lambda: listens(port), "mosquitto")
        return port

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.running.values()]

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(20.0)


def measured_on() -> dict[str, object]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"cores": os.cpu_count(), "cpu": model, "python": platform.python_version(), "machine": platform.machine()}
