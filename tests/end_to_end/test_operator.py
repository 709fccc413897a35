"""What a newcomer does first, with real processes: settings are written, run as they are, and answers are explained."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.ask_client import ask

pytestmark = [pytest.mark.needs_services, pytest.mark.timeout(120)]
CASCADE = [sys.executable, "-m", "cascade_cli"]
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
PROGRAMS = {"cloud": "cloud_service", "fog": "fog_gateway", "edge": "edge_agent"}


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cascade(*words: object, code: int = 0) -> str:
    ended = subprocess.run([*CASCADE, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    return ended.stdout or ended.stderr


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str, Path], subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(module: str, config: Path) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{module}.log").open("wb") as log:
            command = [sys.executable, "-m", module, "--config", str(config)]
            running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd="/"))
        return running[-1]

    yield start
    for process in reversed(running):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def mine(tmp_path: Path, mosquitto: Callable[..., Any]) -> Path:
    broker, cloud = f"127.0.0.1:{mosquitto().port}", f"127.0.0.1:{a_free_port()}"
    cascade("init", "all", "--folder", tmp_path / "mine", "--insecure", "--broker", broker, "--cloud", cloud)
    return tmp_path / "mine"


def asked(folder: Path, make_sample: Callable[..., np.ndarray], *scores: tuple[float, float]) -> dict[str, Any]:
    return ask(folder / "ask.sock", "trial", {"x": make_sample(*scores)})


def test_the_files_of_init_run_together_as_they_are_and_why_tells_the_way(mine, started, make_sample, until):
    agents = {tier: started(module, mine / f"{tier}.toml") for tier, module in PROGRAMS.items()}
    until((mine / "ask.sock").exists, why="the ask socket")
    answer = until(lambda: (said := asked(mine, make_sample, UNSURE, UNSURE, SURE))["tier"] == "cloud" and said)
    told = " ".join(cascade("why", answer["id"], "--config", mine / "edge.toml").split())
    assert all(place in told for place in ("1. edge, site1.device1", "2. fog, site1.gateway1", "3. cloud, cloud"))
    assert 'The answer is "yes", by the cloud tier' in told
    assert answer["id"] in cascade("why", "--last", 5, "--config", mine / "edge.toml")

    journal = mine / "state/edge/journal"
    asking = [*CASCADE, "why", answer["id"], "--journal", str(journal)]
    until(lambda: subprocess.run(asking, capture_output=True, timeout=60).returncode == 0, why="the journal has it")
    agents["edge"].kill()
    agents["edge"].wait()
    again = " ".join(cascade("why", answer["id"], "--config", mine / "edge.toml").split())
    assert again.startswith(told.removesuffix("."))
    assert "asked above with" in again
    assert "link up, breaker closed" in again
    assert "nothing is known of question never" in cascade("why", "never", "--config", mine / "edge.toml", code=3)


def test_a_link_that_is_down_is_the_reason_that_is_told(mine, started, make_sample, until):
    started("edge_agent", mine / "edge.toml")
    until((mine / "ask.sock").exists, why="the ask socket")
    answer = ask(mine / "ask.sock", "trial", {"x": make_sample(UNSURE, SURE, SURE)})
    assert answer["provisional"]
    told = " ".join(cascade("why", answer["id"], "--config", mine / "edge.toml").split())
    assert "because the link to the hop above was down" in told
    assert "another may come, as a correction" in told


@pytest.mark.timeout(180)
def test_the_three_things_to_try_after_the_demo_work(tmp_path):
    pytest.importorskip("sklearn")
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [*CASCADE, "demo", "--seconds", "3"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    tried = re.findall(r"^  (\S.*)$", ended.stdout.split("Three things to try next:")[1], re.MULTILINE)
    assert len(tried) == 3
    usual: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, "env": environment, "cwd": tmp_path}
    said = [subprocess.run(shlex.split(line), **usual) for line in tried]
    assert [one.returncode for one in said] == [0, 0, 0], [one.stderr for one in said]
    assert len(said[0].stdout.splitlines()) == 20
    assert "The answer is" in said[1].stdout
    assert "When:" in said[1].stdout
    assert "right, for the edge tier" in cascade("check", tmp_path / "my-cascade" / "edge.toml")
    lines = (tmp_path / "state/cascade/demo/answers.jsonl").read_text().splitlines()
    assert {json.loads(line)["device"] for line in lines} == {"barn.cam1", "barn.cam2", "barn.cam3"}
