"""The processes of the demo: a broker, a cloud, a gateway and three agents, each with a settings file, on loopback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.release.bundle import StageGate
from cascade.release.ladder import GateSpec
from cascade_cli.demo.line import Line
from cascade_cli.local_processes import LocalProcesses, free_port

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
BROKERS = {
    "mosquitto": "mosquitto, as it is installed here",
    "embedded": "the embedded one, as mosquitto is not installed (for production: a real one)",
}


class Fleet:
    """Everything that the demo starts, and ends."""

    def __init__(self, folder: Path, release: Path) -> None:
        self.folder = folder
        self.releases = {task: _with_gates(release, folder / task, task, gates) for task, gates in GATES.items()}
        self.broker = ""
        self._broker_port, self._cloud_port = free_port(), free_port()
        self.line = Line(self._cloud_port)
        self._processes = LocalProcesses(folder)

    async def start(self, tell: Callable[[str], None]) -> None:
        await self.line.open()
        self.broker = await self._processes.broker(self._broker_port)
        tell(f"broker: {BROKERS[self.broker]}")
        await self._processes.daemon("cloud_service", "cloud", self._cloud())
        await self._processes.accepts("cloud", self._cloud_port)
        await self._processes.daemon("fog_gateway", "barn.gw1", self._gateway())
        for agent in AGENTS:
            await self._processes.daemon("edge_agent", agent, self._agent(agent))
        for agent in AGENTS:
            await self._processes.until(agent, self.socket(agent).exists)
        tell(f"cloud, gateway and {len(AGENTS)} agents run as processes of their own")

    async def stop(self) -> None:
        await self._processes.stop()
        await self.line.close()

    def socket(self, agent: str) -> Path:
        return self.folder / f"{agent}.sock"

    def check(self) -> None:
        """Raises when one of the processes has ended by itself."""
        self._processes.check()

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
retry_first_s = 0.2
retry_most_s = 1.0
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
