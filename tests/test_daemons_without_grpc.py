"""Daemons that have not what they need, or find their port taken, say so in a sentence and end."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.adapters.scripted_release import write_scripted_release

FOG = """
[gateway]
name = "barn.gw1"
site = "barn"
state_dir = "state"
[below]
host = "127.0.0.1"
[[tasks]]
name = "task"
release = "release"
"""
CLOUD = """
[service]
state_dir = "state"
[below]
port = {port}
insecure_ok = true
[[tasks]]
name = "task"
release = "release"
"""
WITHOUT_GRPC = "import sys; sys.modules['grpc'] = None; from {0}.__main__ import main; main()"
AS_IT_IS = "from {0}.__main__ import main; main()"


def run(code: str, package: str, settings: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code.format(package), "--config", settings.name],
        cwd=settings.parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    write_scripted_release(tmp_path / "release")
    return tmp_path / "settings.toml"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "text", "extra"), [("fog_gateway", FOG, "fog"), ("cloud_service", CLOUD.format(port=8443), "cloud")]
)
def test_without_grpc_a_daemon_says_how_to_install_it(settings, package, text, extra):
    settings.write_text(text)
    code, said = run(WITHOUT_GRPC, package, settings)
    assert code == 1
    assert said.strip().endswith(f"needs grpcio: pip install '.[{extra}]' in the folder of this repository")
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_with_its_file_and_setting(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings.write_text(CLOUD.format(port=taken.getsockname()[1]))
        code, said = run(AS_IT_IS, "cloud_service", settings)
    assert code == 1
    assert said.strip().splitlines()[-1].startswith("cloud-service: settings.toml: below.port: another program listens")
    assert "Failed to add" not in said
