"""Installs the servers that the tests start, on Debian: `python3 tests/install_services.py`. Says what it can't do.

Where they can't be installed the other tests run all the same. With CASCADE_ALL_SERVICES=1 that is a failure: a machine
that is there to run every test must not pass by skipping some.
"""

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


def without(why: str) -> int:
    print(f"{why}; missing: {', '.join(missing())}. Tests that need them will be skipped.", file=sys.stderr)
    return int(os.environ.get("CASCADE_ALL_SERVICES") == "1")


def main() -> int:
    packages = missing()
    if not packages:
        return 0
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (sudo and shutil.which("sudo") is None):
        return without("to install what tests start, run this as root on Debian")
    # A broker that apt starts by itself would be a stranger's on the usual port: ours are started by the tests.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    ):
        ended = subprocess.run([*sudo, *command], env=environment, stdin=subprocess.DEVNULL, check=False)
        if ended.returncode:
            return without(f"`{' '.join(command)}` failed")
    return without("they were installed, and are not where they are looked for") if missing() else 0


if __name__ == "__main__":
    sys.exit(main())
