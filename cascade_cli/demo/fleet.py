"""The processes of the demo: a broker, a cloud, a gateway and three agents, each with a settings file, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.errors import CascadeError
from cascade.release.bundle import StageGate
from cascade.release.ladder import GateSpec
from cascade_cli.demo.line import Line

AGENTS = ("barn.cam1", "barn.cam2", "barn.cam3")
CASCADE, DEVICE_ONLY, CLOUD_ONLY = "digits", "digits-device", "digits-cloud"
GATES: Mapping[str, Mapping[str, GateSpec]] = {
    CASCADE: {},
    DEVICE_ONLY: {"edge": GateSpec("always")},
    CLOUD_ONLY: {"edge": GateSpec("never"), "fog": GateSpec("never")},
}
"""The same models under other gates: a task each, so that all three run in the same processes."""

JOULES_PER_BYTE = 5e-6
"""Of a Wi-Fi radio: an estimate. What it is multiplied with, the bytes, is counted."""
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class DemoFailed(CascadeError):
    """Something that the demo needs is not there, or ended."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Fleet:
    """Everything that the demo starts, and ends."""

    def __init__(self, folder: Path, release: Path) -> None:
        self.folder = folder
        self.releases = {task: _with_gates(release, folder / task, task, gates) for task, gates in GATES.items()}
        self.broker = ""
        self._broker_port, self._cloud_port = free_port(), free_port()
        self.line = Line(self._cloud_port)
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, tell: Callable[[str], None]) -> None:
        await self.line.open()
        tell(f"broker: {await self._start_broker()}")
        await self._accepts("broker", self._broker_port)
        await self._daemon("cloud_service", "cloud", self._cloud())
        await self._accepts("cloud", self._cloud_port)
        await self._daemon("fog_gateway", "barn.gw1", self._gateway())
        for agent in AGENTS:
            await self._daemon("edge_agent", agent, self._agent(agent))
        for agent in AGENTS:
            await self._until(agent, self.socket(agent).exists)
        tell(f"cloud, gateway and {len(AGENTS)} agents run as processes of their own")

    async def stop(self) -> None:
        """Agents first, the broker last: nobody is cut off from whom it says goodbye to."""
        for name in reversed(list(self._processes)):
            with contextlib.suppress(ProcessLookupError):
                self._processes[name].send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self.line.close()

    def socket(self, agent: str) -> Path:
        return self.folder / f"{agent}.sock"

    def check(self) -> None:
        """Raises when one of the processes has ended by itself."""
        for name, process in self._processes.items():
            if process.returncode is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
                raise DemoFailed(f"{name} ended with exit code {process.returncode}:\n  " + "\n  ".join(log))

    async def _start_broker(self) -> str:
        mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if mosquitto is not None:
            lines = [f"listener {self._broker_port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true"]
            lines += ["persistence false"] + (["user root"] if os.geteuid() == 0 else [])
            (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
            await self._process("broker", mosquitto, "-c", str(self.folder / "mosquitto.conf"))
            self.broker = "mosquitto"
            return "mosquitto, as it is installed here"
        embedded = "cascade.adapters.transports.embedded_broker"
        await self._process("broker", sys.executable, "-m", embedded, "--port", str(self._broker_port))
        self.broker = "embedded"
        return "the embedded one (mosquitto is not installed; for production use a real broker)"

    async def _daemon(self, module: str, name: str, settings: str) -> None:
        path = self.folder / f"{name}.toml"
        path.write_text(settings)
        await self._process(name, sys.executable, "-m", module, "--config", str(path))

    async def _process(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def _accepts(self, name: str, port: int) -> None:
        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await self._until(name, listens)

    async def _until(self, name: str, there: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not there():
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise DemoFailed(f"{name} was not ready within {READY_WITHIN_S:g} s") from None

    def _tasks(self) -> str:
        return "\n".join(
            f'[[tasks]]\nname = "{task}"\nrelease = "{release}"' for task, release in self.releases.items()
        )

    def _cloud(self) -> str:
        return f"""
[service]
state_dir = "cloud"
[below]
port = {self._cloud_port}
insecure_ok = true
require_client_cert = false
{self._tasks()}
"""

    def _gateway(self) -> str:
        return f"""
[gateway]
name = "barn.gw1"
site = "barn"
state_dir = "barn.gw1"
[below]
host = "127.0.0.1"
port = {self._broker_port}
[above]
host = "127.0.0.1"
port = {self.line.port}
heartbeat_s = 0.5
dead_after_s = 2.0
insecure_ok = true
{self._tasks()}
"""

    def _agent(self, name: str) -> str:
        streams = "\n".join(
            f'[[streams]]\nname = "{task}"\ntask = "{task}"\nanswers = "asker"\ndurability = "batched"\n'
            f"deadline_ms = {400 if task == CASCADE else 2000}\nkeep_asking_s = {60 if task == CASCADE else 0}"
            for task in GATES
        )
        return f"""
[device]
name = "{name}"
state_dir = "{name}"
[above]
host = "127.0.0.1"
port = {self._broker_port}
[above.budget]
joules_per_byte = {JOULES_PER_BYTE}
[ask_socket]
path = "{self.socket(name)}"
max_per_s = 0
[journal]
path = "{name}.journal"
{self._tasks()}
{streams}
"""


def _with_gates(release: Path, folder: Path, task: str, gates: Mapping[str, GateSpec]) -> Path:
    """The same bundles as another task, with other gates where there are some."""
    made = []
    for tier in ("edge", "fog", "cloud"):
        opened = open_release(release, tier)
        manifest = msgspec.structs.replace(opened.bundle.manifest, task=task)
        write_bundle(folder / tier, manifest, {path: opened.bundle.folder / path for path in manifest.files})
        made += [
            StageGate(tier=gate.tier, stage=gate.stage, gate=gates.get(tier, gate.gate))
            for gate in opened.manifest.gates
            if gate.tier == tier
        ]
    write_release(folder, task, task, made)
    return folder
