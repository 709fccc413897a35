"""Installs the servers that the tests start, on Debian: `python3 tests/install_services.py`. Says what it can't do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = {"mosquitto": "mosquitto", "mosquitto_passwd": "mosquitto", "promtool": "prometheus"}
"""Program → Debian package. Tests of what isn't there are skipped, with the reason."""

SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def missing() -> list[str]:
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=SEARCHED) is None})


def main() -> int:
    packages = missing()
    if not packages:
        return 0
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (sudo and shutil.which("sudo") is None):
        print(f"missing: {', '.join(packages)}. Install them, or run this as root on Debian.", file=sys.stderr)
        return 1
    # A broker that apt starts by itself would be a stranger's on the usual port: ours are started by the tests.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    ):
        ended = subprocess.run([*sudo, *command], env=environment, stdin=subprocess.DEVNULL, check=False)
        if ended.returncode:
            print(f"{' '.join(command)} failed; still missing: {', '.join(missing())}", file=sys.stderr)
            return 1
    return 0 if not missing() else 1


if __name__ == "__main__":
    sys.exit(main())
