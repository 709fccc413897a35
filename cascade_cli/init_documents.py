"""What `cascade init` sets in each tier's file: who it is, where its neighbours are, what it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Document = dict[str, Any]
AUDITED = 0.01
"""Of what is settled below: asked above all the same, or nobody would know whether both still agree."""


class Wishes(NamedTuple):
    """What was said on the command line."""

    site: str
    name: str | None
    task: str
    release: str
    broker: tuple[str, int | None]
    cloud: tuple[str, int | None]
    insecure: bool


class Program(NamedTuple):
    """Who reads the file."""

    program: str
    what: str


PROGRAMS: Mapping[str, Program] = {
    "edge": Program("edge-agent", "a device"),
    "fog": Program("fog-gateway", "a gateway"),
    "cloud": Program("cloud-service", "the cloud"),
}


def document_of(tier: str, wishes: Wishes) -> Document:
    return _DOCUMENTS[tier](wishes)


def files_wanted(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Files that the document names and that are not there yet."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from files_wanted(value, folder)
        elif key.endswith("_file") and not (folder / value).exists():
            yield str(folder / value)


def _edge(wishes: Wishes) -> Document:
    name = wishes.name or "device1"
    return {
        "device": {"name": f"{wishes.site}.{name}", "state_dir": "state/edge"},
        "above": {**_at(wishes.broker), **_certificates(wishes, name)},
        "tasks": [_task(wishes)],
        "streams": [
            {
                "name": wishes.task,
                "task": wishes.task,
                "deadline_ms": 1000.0,
                "keep_asking_s": 60.0,
                "answers": "asker",
            }
        ],
        "ask_socket": {"path": "ask.sock"},
        "journal": {"path": "state/edge/journal"},
        "audit": {"share": AUDITED},
    }


def _fog(wishes: Wishes) -> Document:
    name = wishes.name or "gateway1"
    certificates = _certificates(wishes, name)
    above = {**_at(wishes.cloud), **certificates, **({"insecure_ok": True} if wishes.insecure else {})}
    return {
        "gateway": {"name": f"{wishes.site}.{name}", "site": wishes.site, "state_dir": "state/fog"},
        "below": {**_at(wishes.broker), **certificates},
        "above": above,
        "tasks": [_task(wishes)],
        "audit": {"share": AUDITED},
    }


def _cloud(wishes: Wishes) -> Document:
    name = wishes.name or "cloud"
    port = wishes.cloud[1]
    below: Document = {"bind": "127.0.0.1" if wishes.insecure else "0.0.0.0", **({"port": port} if port else {})}
    below |= {"insecure_ok": True} if wishes.insecure else _certificates(wishes, name)
    return {
        "service": {"name": name, "state_dir": "state/cloud"},
        "below": below,
        "tasks": [_task(wishes)],
    }


def _at(place: tuple[str, int | None]) -> Document:
    host, port = place
    return {"host": host, **({"port": port} if port is not None else {})}


def _certificates(wishes: Wishes, name: str) -> Document:
    if wishes.insecure:
        return {}
    return {"ca_file": "certs/ca.pem", "cert_file": f"certs/{name}.pem", "key_file": f"certs/{name}.key"}


def _task(wishes: Wishes) -> Document:
    return {"name": wishes.task, "release": wishes.release}


_DOCUMENTS: Mapping[str, Callable[[Wishes], Document]] = {"edge": _edge, "fog": _fog, "cloud": _cloud}
