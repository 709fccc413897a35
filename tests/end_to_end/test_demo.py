"""`cascade demo`: what a newcomer runs first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.needs_services, pytest.mark.timeout(180)]
COMMAND = [sys.executable, "-m", "cascade_cli", "demo"]


def test_it_ends_with_a_table_of_what_each_way_costs(tmp_path):
    pytest.importorskip("sklearn")
    command = [*COMMAND, "--seconds", "6", "--json", "--keep", str(tmp_path / "kept")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)["rows"]
    assert list(rows) == ["cascade", "cloud only", "device only", "cascade, link cut for 2 s"]
    assert rows["device only"]["bytes_up"] == 0
    assert 0 < rows["cascade"]["bytes_up"] < rows["cloud only"]["bytes_up"] / 2
    assert rows["cascade"]["accuracy"] > rows["device only"]["accuracy"]
    cut = rows["cascade, link cut for 2 s"]
    assert cut["provisional"] == cut["corrected"] > 0
    assert cut["questions"] == sum(cut["answered_by"].values())
    assert (tmp_path / "kept" / "answers.jsonl").exists()


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGHUP], ids=lambda told: told.name)
def test_interrupted_it_ends_everything_that_it_started(tmp_path, told):
    demo, started = _begun(tmp_path)
    demo.send_signal(told)
    assert demo.wait(60.0) == 130
    assert "everything that was started has ended" in demo.stderr.read()
    assert not _alive(started)
    assert list(tmp_path.glob("cascade-demo-*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_killed_it_leaves_no_process_behind(tmp_path):
    demo, started = _begun(tmp_path)
    demo.kill()
    demo.wait(10.0)
    give_up_at = time.monotonic() + 30.0
    while _alive(started) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not _alive(started)


def _begun(folder: Path) -> tuple[subprocess.Popen[str], list[str]]:
    """A demo whose six processes are there."""
    pytest.importorskip("sklearn")
    environment = {**os.environ, "TMPDIR": str(folder)}
    demo = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
    give_up_at = time.monotonic() + 60.0
    while len(_children(demo.pid)) < 6 and time.monotonic() < give_up_at:
        time.sleep(0.05)
    started = _children(demo.pid)
    assert len(started) == 6
    return demo, started


def _alive(pids: list[str]) -> list[str]:
    """Those that run; one that has ended and that nobody has asked after yet does not."""
    return [pid for pid in pids if _state(pid) not in ("", "Z", "X")]


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _children(pid: int) -> list[str]:
    """The broker, the cloud, the gateway and three agents."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
