"""Makes each peer's environment, one after the other: `build/peers/<package>`, by venv and pip, pinned.

    python -m benchmarks.peers.install [NAME …]

What can't be installed here is left out, with pip's last word; the benchmark then skips it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.peers import ENGINE, ENVIRONMENTS, PEERS, Peer

MADE = "made.txt"
"""In an environment: what it was made with. Without it, or with another, it is made anew."""
PIP_WITHIN_S = 1800.0


def environment_of(peer: Peer) -> Path:
    return (ENVIRONMENTS / peer.package).absolute()


def wanted(peer: Peer) -> str:
    return " ".join([*peer.requirements, *ENGINE])


def is_made(peer: Peer) -> bool:
    note = environment_of(peer) / MADE
    return note.exists() and note.read_text() == wanted(peer)


def install(peer: Peer) -> str:
    """Nothing, or why not."""
    folder = environment_of(peer)
    if is_made(peer):
        return ""
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
        command = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *wanted(peer).split()]
        subprocess.run(command, check=True, capture_output=True, timeout=PIP_WITHIN_S)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        return said[-1] if said else f"pip ended with {error.returncode}"
    except subprocess.TimeoutExpired:
        return f"not within {PIP_WITHIN_S:g} s"
    (folder / MADE).write_text(wanted(peer))
    return ""


def main(names: list[str]) -> None:
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        why = install(peer)
        print(f"{peer.name}: {f'not installed: {why}' if why else 'there'}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
