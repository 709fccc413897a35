"""Real servers for tests: mosquitto on a free loopback port, with the settings, users and rights of the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

START_TIMEOUT_S = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A mosquitto of one's own: `start`, `stop`, `kill`, `restart`, `freeze` (SIGSTOP), `thaw`.

    `users` maps names to passwords; `acl` are lines of an ACL file; `tls` are the paths of CA, certificate and key, and
    makes client certificates the identity. `lines` go into the configuration as they are.
    """

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str] = (),
        users: Mapping[str, str] | None = None,
        acl: Sequence[str] = (),
        tls: tuple[Path, Path, Path] | None = None,
    ) -> None:
        self.folder, self.port = folder, free_port()
        self._lines, self._users, self._acl, self._tls = list(lines), users, acl, tls
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> Mosquitto:
        self._write_files()
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [_binary(), "-c", str(self.folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_it_listens(self._process)
        return self

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < give_up_at and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"mosquitto did not start:\n{self.log()}")

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def stop(self) -> None:
        """SIGTERM, as systemd would; SIGKILL where that is not heard."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def set_user(self, name: str, password: str) -> None:
        """Takes effect with the next start."""
        self._users = {**(self._users or {}), name: password}

    def _write_files(self) -> None:
        """As root, mosquitto would become another user, who can't write here."""
        lines = [f"listener {self.port} 127.0.0.1", "set_tcp_nodelay true", "persistence false"]
        lines += ["user root"] if os.geteuid() == 0 else []
        if self._tls:
            ca, certificate, key = self._tls
            lines += [f"cafile {ca}", f"certfile {certificate}", f"keyfile {key}"]
            lines += ["require_certificate true", "use_identity_as_username true"]
        lines += [f"allow_anonymous {'false' if self._users is not None else 'true'}"]
        if self._users is not None:
            lines += [f"password_file {self._password_file(self._users)}"]
        if self._acl:
            (self.folder / "acl").write_text("\n".join(self._acl) + "\n")
            (self.folder / "acl").chmod(0o600)
            lines += [f"acl_file {self.folder / 'acl'}"]
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, *self._lines]) + "\n")

    def _password_file(self, users: Mapping[str, str]) -> Path:
        path = self.folder / "passwords"
        path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
        path.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True, capture_output=True)
        return path


def _binary() -> str:
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("mosquitto is not installed")
    return found


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes started brokers, each of which is stopped after the test: `broker = mosquitto(users={...}, acl=[...])`."""
    made: list[Mosquitto] = []

    def make(**settings: object) -> Mosquitto:
        broker = Mosquitto(tmp_path / f"mosquitto-{len(made)}", **settings)  # type: ignore[arg-type]
        made.append(broker)
        return broker.start()

    yield make
    for broker in made:
        broker.kill()
