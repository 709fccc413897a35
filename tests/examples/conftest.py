"""Examples are run as people run them: their scripts, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def ran(*words: object, timeout_s: float = 120.0) -> str:
    """Python with these arguments, paths relative to `examples`: what it printed, or a failed test with its error."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=EXAMPLES, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    return ran


@pytest.fixture(scope="session")
def real_data() -> Path:
    if "CASCADE_DATA" not in os.environ:
        pytest.skip("CASCADE_DATA is not set: nothing real to try it on")
    return Path(os.environ["CASCADE_DATA"])
