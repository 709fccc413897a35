"""Whether a bundle fits a machine: every reason why not, not just the first."""

from __future__ import annotations

import re

import msgspec

from cascade.release.bundle import BundleManifest


class MachineFacts(msgspec.Struct, frozen=True):
    """What is known of a machine."""

    engines: frozenset[str]
    runtime: str
    """Version of this package."""
    memory_bytes: int | None = None
    """What models may take. None: not known, and not held against a bundle."""


def misfits(bundle: BundleManifest, machine: MachineFacts) -> list[str]:
    """Why the bundle can't run there. Empty: it can."""
    reasons = []
    unknown = sorted({stage.format for stage in bundle.stages} - machine.engines)
    if unknown:
        have = ", ".join(sorted(machine.engines)) or "none"
        reasons.append(f"needs the engine {', '.join(unknown)}; this machine has {have}")
    needed = bundle.requirements.memory_bytes
    if machine.memory_bytes is not None and needed > machine.memory_bytes:
        reasons.append(f"needs {needed} bytes of memory; {machine.memory_bytes} are there")
    if not _at_least(machine.runtime, bundle.requirements.runtime):
        reasons.append(f"needs version {bundle.requirements.runtime} of the runtime; this is {machine.runtime}")
    return reasons


def _at_least(version: str, wanted: str) -> bool:
    return not wanted or _numbers(version) >= _numbers(wanted)


def _numbers(version: str) -> tuple[int, ...]:
    """`1.2.0rc1` as (1, 2): trailing zeros say nothing, and a candidate counts as what it is a candidate for."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found.group().split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
