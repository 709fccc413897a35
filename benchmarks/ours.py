"""Our cascade as a benchmark runs it: the real daemons with settings files, without TLS, on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.machine import free_port, listens, wait_for
from benchmarks.processes import Processes

SITE, TASK, STREAM = "bench", "bench", "s"

Result = TypeVar("Result")


class LoopThread:
    """An asyncio loop in a thread, called from outside: what runs on it hands nothing over while it runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class OurTiers:
    """Cloud and gateway, started one after the other; and the settings of devices below them."""

    def __init__(self, processes: Processes, release: Path, name: str = "ours") -> None:
        self.folder, self.release, self._processes, self._name = processes.folder, release, processes, name
        self.cloud_port = self.broker_port = 0

    def start_cloud(self) -> str:
        """The process's name."""
        self.cloud_port, name = free_port(), f"{self._name}-cloud"
        settings = self._write(
            name,
            f'[service]\nstate_dir = "{name}"\n[below]\nport = {self.cloud_port}\n'
            f"insecure_ok = true\nrequire_client_cert = false\n{self._tasks}",
        )
        self._processes.python(name, "-m", "cloud_service", "--config", str(settings))
        wait_for(lambda: self._processes.must_live(name) and listens(self.cloud_port), name)
        return name

    def start_gateway(self, broker_port: int, *, asks_the_cloud: bool = True) -> str:
        """The process's name."""
        self.broker_port, metrics_port, name = broker_port, free_port(), f"{self._name}-gateway"
        above = f'[above]\nhost = "127.0.0.1"\nport = {self.cloud_port}\ninsecure_ok = true\n' if asks_the_cloud else ""
        settings = self._write(
            name,
            f'[gateway]\nname = "{SITE}.gateway"\nsite = "{SITE}"\nstate_dir = "{name}"\n'
            f'[below]\nhost = "127.0.0.1"\nport = {broker_port}\n{above}'
            f"[metrics]\nport = {metrics_port}\n{self._tasks}",
        )
        self._processes.python(name, "-m", "fog_gateway", "--config", str(settings))
        wait_for(lambda: self._processes.must_live(name) and listens(metrics_port), name)
        return name

    def edge_settings(
        self, device: str, *, durability: str = "batched", state: str = "", stream: str = "", more: str = ""
    ) -> Path:
        """The settings file of a device of this site that asks the gateway; `stream` and `more` are further lines."""
        above = f'[above]\nhost = "127.0.0.1"\nport = {self.broker_port}\n' if self.broker_port else ""
        asking = "[above.asking]\nin_flight = 1024\n" if above else ""
        return self._write(
            device,
            f'[device]\nname = "{SITE}.{device}"\nstate_dir = "{state or device}"\n{above}{asking}{self._tasks}'
            f'[[streams]]\nname = "{STREAM}"\ntask = "{TASK}"\ndurability = "{durability}"\nencoding = "none"\n'
            f"{stream}{more}",
        )

    @property
    def _tasks(self) -> str:
        return f'[[tasks]]\nname = "{TASK}"\nrelease = "{self.release}"\n'

    def _write(self, name: str, settings: str) -> Path:
        path = self.folder / f"{name}.toml"
        path.write_text(settings)
        return path
