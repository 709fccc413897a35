"""Processes on this machine, on loopback: a broker, and daemons that each have a settings file. For the demo, and for
evaluating over what really runs. They end with whoever started them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cascade.errors import CascadeError

MOST_BYTES, SOCKET_BYTES, RANDOM_BYTES = 103, 20, 8
"""Of a socket's path, of its last part, and of what a temporary folder's name has beside its prefix."""
PR_SET_PDEATHSIG = 1
"""Of Linux' `prctl`: which signal a process is sent when its parent is gone, however that ended."""
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class ProcessEnded(CascadeError):
    """Something that is needed is not there, or ended by itself."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def short_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """For what shall be gone afterwards, with room for the path of a Unix socket, of which there are 107 bytes at most
    and less elsewhere: where `TMPDIR` is a long one, in /tmp."""
    usual = Path(tempfile.gettempdir())
    is_long = len(os.fsencode(usual / prefix)) + RANDOM_BYTES > MOST_BYTES - SOCKET_BYTES
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp" if is_long else usual)
    except OSError as error:
        raise ProcessEnded(f"no folder can be made for what is run: {error}; TMPDIR says where") from error


def end_by_signal() -> None:
    """Whoever starts processes is cancelled by ^C, by SIGTERM and by a closed terminal, and so comes to end them. Once:
    a second ^C must not cut short what the first began. Under `nohup` a closed terminal changes nothing."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, end)


class LocalProcesses:
    """What was started, by name; settings and logs are in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def stop(self) -> None:
        """The last first: nobody is cut off from whom it says goodbye to."""
        for name in reversed(list(self._processes)):
            with contextlib.suppress(ProcessLookupError):
                self._processes[name].send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
            except TimeoutError:
                process.kill()
                await process.wait()

    def check(self) -> None:
        """Raises when one of the processes has ended by itself."""
        for name, process in self._processes.items():
            if process.returncode is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
                raise ProcessEnded(f"{name} ended with exit code {process.returncode}:\n  " + "\n  ".join(log))

    async def broker(self, port: int) -> str:
        """Returns which: mosquitto where it is installed, else the embedded one."""
        mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if mosquitto is not None:
            lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true"]
            lines += ["persistence false"] + (["user root"] if os.geteuid() == 0 else [])
            (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
            await self._start("broker", mosquitto, "-c", str(self.folder / "mosquitto.conf"))
        else:
            embedded = "cascade.adapters.transports.embedded_broker"
            await self._start("broker", sys.executable, "-m", embedded, "--port", str(port))
        await self.accepts("broker", port)
        return "embedded" if mosquitto is None else "mosquitto"

    async def daemon(self, module: str, name: str, settings: str) -> None:
        path = self.folder / f"{name}.toml"
        path.write_text(settings)
        await self._start(name, sys.executable, "-m", module, "--config", str(path))

    async def accepts(self, name: str, port: int) -> None:
        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await self.until(name, listens)

    async def until(self, name: str, there: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not there():
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ProcessEnded(f"{name} was not ready within {READY_WITHIN_S:g} s") from None

    async def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_ending_with(os.getpid()),
            )  # fmt: skip


def _ending_with(parent: int) -> Callable[[], None] | None:
    """For the child, before it becomes what it shall be: `kill -9` of its parent ends it too. Only Linux can."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is None:
        return None

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return bind
