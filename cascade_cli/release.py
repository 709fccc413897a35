"""`cascade release FOLDER`: what a release is made of, every byte of it verified."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from cascade.adapters.bundle_folder import open_release
from cascade.errors import BundleRejected
from cascade.release.bundle import MANIFEST_FILE, MAX_MANIFEST_BYTES, RELEASE_FILE, TIERS, Tier, read_release_manifest

ABOUT = "verify a release folder, and say what is in it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)


def run(wanted: argparse.Namespace) -> int:
    folder: Path = wanted.folder
    here = [tier for tier in TIERS if _is_here(folder, tier)]
    if not here:
        raise BundleRejected(f"{folder}: no bundle of any tier is here")
    for number, tier in enumerate(here):
        release = open_release(folder, cast(Tier, tier))
        if number == 0:
            sys.stdout.write(f"release {release.id} for task {release.manifest.task}\n")
        size = sum(entry.bytes for entry in release.bundle.manifest.files.values())
        sys.stdout.write(f"  {tier}: bundle {release.bundle.manifest.name}, {size:,} bytes\n")
        for stage in release.ladder.stages:
            threshold = "" if stage.gate.threshold is None else f" {stage.gate.threshold:g}"
            sys.stdout.write(f"    stage {stage.name}: {stage.kind}, gate {stage.gate.name}{threshold}\n")
    return 0


def _is_here(folder: Path, tier: str) -> bool:
    path = folder / RELEASE_FILE
    try:
        with path.open("rb") as file:
            manifest = read_release_manifest(file.read(MAX_MANIFEST_BYTES + 1), str(path))
    except OSError as error:
        raise BundleRejected(f"{path}: {error.strerror}") from error
    reference = manifest.bundles.get(cast(Tier, tier))
    return reference is not None and (folder / reference.folder / MANIFEST_FILE).exists()
