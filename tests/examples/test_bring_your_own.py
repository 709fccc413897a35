"""`examples/bring_your_own`, step by step as its README has it: every block is run, and prints what stands below it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
README = (EXAMPLES / "bring_your_own/README.md").read_text()
MARK = "-- block --"


class Step(NamedTuple):
    language: str
    text: str
    prints: str
    """Empty: whatever it likes."""


def steps() -> list[Step]:
    """`sh` blocks make the environment, which is that of the tests."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
    return [
        Step(language, text, after[1] if after[0] == "text" else "")
        for (language, text), after in zip(blocks, [*blocks[1:], ("", "")], strict=True)
        if language in ("bash", "python")
    ]


def as_script(step: Step) -> str:
    return step.text if step.language == "bash" else f"python - <<'END'\n{step.text}END\n"


@pytest.mark.parametrize("step", [step for step in steps() if step.language == "python"])
def test_a_step_is_at_most_five_lines(step):
    assert len([line for line in step.text.splitlines() if line]) <= 5


@pytest.mark.needs_services
@pytest.mark.timeout(180)
def test_every_step_runs_and_prints_what_the_readme_says(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/digits").symlink_to(EXAMPLES / "digits")
    here = tmp_path / "examples/bring_your_own"
    here.mkdir()
    for name in ("stand_ins.py", "edge.toml", "fog.toml", "cloud.toml"):
        shutil.copy(EXAMPLES / "bring_your_own" / name, here)
    printed = run(here, f"echo '{MARK}'\n".join(["set -e\n", *(as_script(step) for step in steps())]))
    for step, output in zip(steps(), printed.split(f"{MARK}\n")[1:], strict=True):
        if step.prints:
            assert output == step.prints, step.text


def run(here: Path, script: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    with (here / "stderr").open("w+") as stderr:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=here,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = shell.communicate(timeout=150)
        finally:
            stop_all(shell)
        stderr.seek(0)
        assert shell.returncode == 0, stderr.read()
    return printed


def stop_all(shell: subprocess.Popen[str]) -> None:
    """What it started in the background too: a step may have failed before the last."""
    try:
        os.killpg(shell.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
