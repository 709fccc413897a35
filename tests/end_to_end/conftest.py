"""A whole cascade of real processes: mosquitto, cloud, gateway, agents, each with a settings file, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.adapters.scripted_release import scripted_sample, write_scripted_release

WITHIN_S = 20.0
Scores = tuple[float, float]
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)


def wait_for(what: Callable[[], Any], within_s: float = WITHIN_S, why: str = "") -> Any:
    """The first true thing that `what` returns."""
    give_up_at = time.monotonic() + within_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < give_up_at, f"not within {within_s:g} s: {why or what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sample(edge: Scores, fog: Scores = SURE, cloud: Scores = SURE) -> np.ndarray:
    """An input that says what each tier will predict."""
    return scripted_sample(edge, fog, cloud)


class Daemon:
    """One process of the cascade. Started again it begins from the same settings and the same state folder."""

    def __init__(self, module: str, folder: Path, settings: str, metrics_port: int) -> None:
        self.module, self.folder, self.metrics_port = module, folder, metrics_port
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "settings.toml"
        self.config.write_text(settings)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> Daemon:
        self.starts += 1
        program = [self.module] if self.module.endswith(".py") else ["-m", self.module]
        command = [sys.executable, *program, "--config", str(self.config)]
        with (self.folder / "log").open("ab") as log, (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=log)
        return self

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def answers(self) -> list[dict[str, Any]]:
        """What it printed, whole lines only."""
        text = (self.folder / "out").read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
        try:
            return process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.module} did not stop:\n{self.log[-3000:]}") from None

    def metrics(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=2.0) as page:
                return str(page.read().decode())
        except OSError:
            self.still_runs()
            return ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of this daemon's own series of this name with these labels: not of what devices told it."""
        total = 0.0
        for line in self.metrics().splitlines():
            head, _, value = line.rpartition(" ")
            if (
                head.partition("{")[0] == name
                and "device=" not in head
                and all(f'{key}="{word}"' in head for key, word in labels.items())
            ):
                total += float(value)
        return total

    def still_runs(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.module} ended with {self.process.returncode}:\n{self.log[-3000:]}")

    def has_link(self) -> bool:
        return self.metric("cascade_link_up") == 1.0


class Site:
    """A cloud, a gateway and devices, with the settings that a test asks for."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self.folder, self.broker_port = folder, broker_port
        self.release = write_scripted_release(folder / "release")
        self.cloud_port = free_port()
        self.cloud_security = "insecure_ok = true\nrequire_client_cert = false"
        self.gateway_security = ("", "insecure_ok = true")
        self.agent_security = ""
        self.daemons: list[Daemon] = []

    def cloud(self, more: str = "") -> Daemon:
        port = free_port()
        return self._add("cloud_service", "cloud", port, f"""
            [service]
            name = "cloud"
            state_dir = "state"
            [below]
            port = {self.cloud_port}
            {self.cloud_security}
            [metrics]
            port = {port}
            [[tasks]]
            name = "task"
            release = "{self.release}"
            {more}
        """)  # fmt: skip

    def gateway(self, name: str = "barn.gw1", more: str = "") -> Daemon:
        port = free_port()
        return self._add("fog_gateway", name, port, f"""
            [gateway]
            name = "{name}"
            site = "barn"
            state_dir = "state"
            [below]
            host = "127.0.0.1"
            port = {self.broker_port}
            probe_s = 0.5
            dead_after_s = 2.0
            {self.gateway_security[0]}
            [above]
            host = "127.0.0.1"
            port = {self.cloud_port}
            heartbeat_s = 0.5
            dead_after_s = 2.0
            {self.gateway_security[1]}
            [metrics]
            port = {port}
            [[tasks]]
            name = "task"
            release = "{self.release}"
            {more}
        """)  # fmt: skip

    def agent(
        self,
        name: str = "barn.cam1",
        stream: str = "",
        more: str = "",
        socket: bool = True,
        program: str = "edge_agent",
    ) -> Daemon:
        port = free_port()
        sensorless = f"""
            [ask_socket]
            path = "{self.folder / name}/ask"
            max_per_s = 0
            """
        answers = 'answers = "asker"' if socket else ""
        return self._add(program, name, port, f"""
            [device]
            name = "{name}"
            state_dir = "state"
            [above]
            host = "127.0.0.1"
            port = {self.broker_port}
            probe_s = 0.5
            dead_after_s = 2.0
            {self.agent_security}
            asking = {{ ask_again_s = 0.5, ask_again_most_s = 2.0, cool_s = 0.3, cool_most_s = 1.0 }}
            [metrics]
            port = {port}
            [[tasks]]
            name = "task"
            release = "{self.release}"
            [[streams]]
            name = "cam"
            task = "task"
            {answers}
            {stream}
            {sensorless if socket else ""}
            {more}
        """)  # fmt: skip

    def socket_of(self, agent: Daemon) -> Path:
        return wait_for(lambda: (agent.folder / "ask").exists() and agent.folder / "ask", why="the ask socket")

    def _add(self, module: str, name: str, metrics_port: int, settings: str) -> Daemon:
        lines = "\n".join(line.strip() for line in settings.splitlines())
        daemon = Daemon(module, self.folder / name, lines, metrics_port)
        self.daemons.append(daemon)
        return daemon.start()

    def close(self) -> None:
        for daemon in self.daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()


@pytest.fixture
def make_site(tmp_path: Path, mosquitto: Callable[..., Any]) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(broker_port: int | None = None) -> Site:
        site = Site(tmp_path, broker_port or mosquitto().port)
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def serving(make_site: Callable[..., Site]) -> Site:
    """A cloud and a gateway, linked."""
    site = make_site()
    site.cloud_daemon = site.cloud()
    site.gateway_daemon = site.gateway()
    wait_for(site.gateway_daemon.has_link, why="gateway to cloud")
    return site


@pytest.fixture
def running(serving: Site) -> Site:
    """A cloud, a gateway and one agent, linked, and the agent's ask socket."""
    serving.agent_daemon = serving.agent()
    wait_for(serving.agent_daemon.has_link, why="agent to gateway")
    serving.ask_path = serving.socket_of(serving.agent_daemon)
    return serving


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def make_sample() -> Callable[..., np.ndarray]:
    return sample


os.environ.setdefault("PYTHONUNBUFFERED", "1")
