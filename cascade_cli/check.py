"""`cascade check edge.toml`: is a settings file right, and do the releases that it names load on this machine?"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from difflib import get_close_matches
from pathlib import Path

import msgspec

from cascade.adapters.installing import install_tasks, stage_runner
from cascade.adapters.settings_file import HEADS, read_settings
from cascade.adapters.tier_needs import check_needs
from cascade.errors import SettingsError
from cascade.release.bundle import Tier
from cloud_service.settings import CloudSettings
from edge_agent.settings import EdgeSettings
from fog_gateway.settings import FogSettings

ABOUT = "check a settings file of any tier, and the models that it names"

EXAMPLES = (("cascade check edge.toml", "its mistakes, all at once; or what each task runs, stage by stage"),)

Settings = EdgeSettings | FogSettings | CloudSettings
TIERS: dict[str, tuple[Tier, type[Settings]]] = {
    "device": ("edge", EdgeSettings),
    "gateway": ("fog", FogSettings),
    "service": ("cloud", CloudSettings),
}
"""The table that tells which tier a file is for."""
_KNOWN = {field.encode_name for _, kind in TIERS.values() for field in msgspec.structs.fields(kind)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="edge.toml, fog.toml or cloud.toml")


def run(wanted: argparse.Namespace) -> int:
    tier, kind = _tier_of(wanted.file)
    settings = read_settings(wanted.file, kind)
    if isinstance(settings, EdgeSettings) and settings.silent_streams:
        raise SettingsError(str(wanted.file), settings.silent_streams)
    with tempfile.TemporaryDirectory() as folder:
        runner = stage_runner(Path(folder), settings.engine)
        passes_on = isinstance(settings, FogSettings) and settings.above is not None
        releases = install_tasks(runner, settings.tasks, tier, str(wanted.file), passes_on=passes_on)
        runner.close()
    check_needs(tier)
    sys.stdout.write(f"{wanted.file}: right, for the {tier} tier\n")
    for release in releases:
        stages = ", ".join(f"{stage.name} ({stage.gate.name})" for stage in release.ladder.stages)
        sys.stdout.write(f"  task {release.manifest.task}: release {release.id}: {stages}\n")
    for name in sorted({task.name for task in settings.tasks} - {release.manifest.task for release in releases}):
        sys.stdout.write(f"  task {name}: its release has no model for this tier, so its questions are passed on\n")
    return 0


def _refuse_misspelt(path: Path, unknown: list[str]) -> None:
    for name in unknown:
        for meant in get_close_matches(name, TIERS, n=1):
            raise SettingsError(str(path), [f"{name}: is unknown; did you mean {meant}?"])


def _tier_of(path: Path) -> tuple[Tier, type[Settings]]:
    """By its first table. A file that can't be read is read as an edge's: that says what is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return TIERS["device"]
    found = [name for name in TIERS if name in tables]
    if len(found) == 1:
        return TIERS[found[0]]
    if not found:
        _refuse_misspelt(path, [name for name in tables if name not in _KNOWN])
    if "below" in tables and not found:
        return TIERS["service"]
    there = ", ".join(f"[{name}]" for name in (found or tables)) or "nothing"
    expected = ", ".join(f"[{name}] ({HEADS[name]})" for name in TIERS)
    raise SettingsError(str(path), [f"found {there}, expected just one of the tables {expected}"])
