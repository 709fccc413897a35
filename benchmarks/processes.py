"""Processes of a benchmark: started, ended, and what they take, read from /proc."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.machine import free_port, listens, wait_for

ROOT = Path(__file__).parents[1]
ENDS_WITHIN_S = 20.0


def cpu_s(pids: Iterable[int]) -> float:
    """User and system seconds of these processes so far, with those of threads that ended. A process that has ended
    took nothing. By the processes' own clocks: /proc counts in hundredths, and short turns would cost nothing."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime(_clock_of(pid))
    return total


def _clock_of(pid: int) -> int:
    """As `clock_getcpuclockid` of C makes it on Linux."""
    return (~pid << 3) | 2


def tree_of(pid: int) -> list[int]:
    """A process and all that it and its children started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, at = [pid], 0
    while at < len(found):
        found += children.get(found[at], [])
        at += 1
    return found


def memory_mib(pid: int) -> dict[str, float]:
    """RSS counts all that is mapped and there; PSS shares what several processes map by their number; `private` is
    what would be free again if the process ended."""
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        kib[name] = int(rest.split()[0])
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"rss": kib["Rss"] / 1024, "pss": kib["Pss"] / 1024, "private": private / 1024}


def many_open_files() -> None:
    """A thousand devices are a thousand sockets, of a broker too: children inherit this."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Processes:
    """Started here, ended here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        many_open_files()

    def python(self, name: str, *arguments: str) -> int:
        return self.start(name, sys.executable, *arguments)

    def start(
        self,
        name: str,
        *command: str,
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        session: bool = False,
    ) -> int:
        """Its process number. `session`: it is ended together with all that it starts."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=session,
            )
        return self.running[name].pid

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def must_live(self, name: str) -> bool:
        """True, or what it said at last."""
        code = self.running[name].poll()
        if code is not None:
            raise RuntimeError(f"{name} ended with {code}:\n{self.log(name)[-2000:]}")
        return True

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
        wait_for(lambda: self.must_live("mosquitto") and listens(port), "mosquitto")
        return port

    def pids(self, *names: str) -> list[int]:
        return [self.running[name].pid for name in names]

    def stop(self, *names: str) -> None:
        """Those named, or all; the last started first."""
        ending = [name for name in reversed(self.running) if not names or name in names]
        for name in ending:
            self.running[name].terminate()
        for name in ending:
            _end(self.running.pop(name))


def _end(process: subprocess.Popen[bytes]) -> None:
    """A peer may be deaf, and leave children behind: those that are of its session go with it."""
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def end_tree(pids: Sequence[int]) -> None:
    """What a server left behind when it was told to end; back when it is gone."""
    for pid in reversed(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of them", 5.0)
