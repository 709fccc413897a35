"""Where the servers of the tests can't be installed, the other tests run: but for a machine that is to run them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("install_services.py")


@pytest.mark.parametrize(("environment", "code"), [({}, 0), ({"CASCADE_ALL_SERVICES": "1"}, 1)])
def test_what_can_not_be_installed_is_told_and_is_a_failure_only_where_all_is_wanted(tmp_path, environment, code):
    script = tmp_path / "install_services.py"
    script.write_text(SCRIPT.read_text().replace("/usr/sbin:/usr/local/sbin", ""))
    done = subprocess.run(
        [sys.executable, script],
        env={"PATH": str(tmp_path), **environment}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "missing: mosquitto, prometheus. Tests that need them will be skipped." in done.stderr
