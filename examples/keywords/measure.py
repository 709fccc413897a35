"""The table of the README: each of the 1,000 clips asked once, of a release that has never met it.

    CASCADE_DATA=… python examples/keywords/measure.py [--json FILE]

In each of five turns a model above is trained, thresholds are found by `cascade calibrate`, and the clips left over are
asked in memory: of the device alone, of the model above alone, and of the cascade.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from clips import TURNS, Source, official
from msgspec.structs import replace
from train import write

from cascade.adapters.bundle_folder import open_release, write_release
from cascade.adapters.world import InMemoryCascade
from cascade.inference.shares import wilson
from cascade.release.ladder import GateSpec

TARGET = "at most 2 points worse than the cloud, with 90 % confidence"
ALONE = {"device only": "always", "cloud only": "never", "cascade": ""}
"""What the device's gate is made into."""


class Asked(NamedTuple):
    """What one system did with clips."""

    right: list[bool]
    at_device: int
    bytes_up: int

    def and_also(self, other: Asked) -> Asked:
        return Asked(self.right + other.right, self.at_device + other.at_device, self.bytes_up + other.bytes_up)


def calibrated(folder: Path, target: str = TARGET) -> None:
    """By the command, as anybody would. It says so where the clips can't support the promise."""
    files = ["--recordings", str(folder / "recordings.npz"), "--record", str(folder / "calibrate.npz")]
    command = [sys.executable, "-m", "cascade_cli", "calibrate", str(folder / "release"), *files, "--target", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def behind(release: Path, folder: Path, gate: str) -> Path:
    """The same bundles, with another gate on the device."""
    shutil.copytree(release, folder)
    manifest = open_release(folder, "edge").manifest
    gates = [replace(each, gate=GateSpec(gate)) if each.tier == "edge" and gate else each for each in manifest.gates]
    write_release(folder, manifest.name, manifest.task, gates)
    return folder


def ask(release: Path, clips: Path) -> Asked:
    with np.load(clips) as file:
        inputs, labels = file["mfcc"], file["labels"].tolist()
    with InMemoryCascade(release) as cascade:
        said = [cascade.ask(each, final=True).label for each in inputs]
        totals = cascade.totals()
    right = [a == b for a, b in zip(said, labels, strict=True)]
    return Asked(right, totals.answered_by.get("edge", 0), totals.bytes_up.get("edge", 0))


def measure(source: Source, folder: Path, turns: int = TURNS, target: str = TARGET) -> dict[str, Asked]:
    found = {name: Asked([], 0, 0) for name in ALONE}
    for turn in range(turns):
        here = folder / str(turn)
        here.mkdir()
        write(here, source, turn)
        calibrated(here, target)
        for name, gate in ALONE.items():
            release = behind(here / "release", here / name.replace(" ", "-"), gate)
            found[name] = found[name].and_also(ask(release, here / "test.npz"))
    return found


def row(name: str, asked: Asked) -> dict[str, Any]:
    clips, right = len(asked.right), sum(asked.right)
    low, high = wilson(right / clips, clips, 1.96)
    return {
        "system": name, "clips": clips, "accuracy": right / clips, "low": low, "high": high,
        "answered_on_device": asked.at_device / clips, "bytes_up_per_question": asked.bytes_up / clips,
    }  # fmt: skip


def shown(rows: list[dict[str, Any]]) -> str:
    lines = ["| | right | 95 % interval | answered on the device | bytes up per question |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['system']} | {row['accuracy']:.1%} | {row['low']:.1%} to {row['high']:.1%} "
        f"| {row['answered_on_device']:.1%} | {row['bytes_up_per_question']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def compared(found: dict[str, Asked]) -> str:
    """Clip by clip: what the cascade has right and the device alone has not, and the other way round."""
    device, cascade = (np.array(found[name].right) for name in ("device only", "cascade"))
    gained, lost = int((cascade & ~device).sum()), int((device & ~cascade).sum())
    # Of the clips on which they differ: how often chance alone would favour the cascade as much.
    chance = sum(math.comb(gained + lost, k) for k in range(gained, gained + lost + 1)) / 2.0 ** (gained + lost)
    return f"The cascade mends {gained} of the device's mistakes and makes {lost} new ones (by chance: {chance:.1g})."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if "CASCADE_DATA" not in os.environ:
        print("keywords: CASCADE_DATA is not set, nothing was measured")
        return
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(official(Path(os.environ["CASCADE_DATA"])), Path(temporary))
    rows = [row(name, asked) for name, asked in found.items()]
    print(f"{shown(rows)}\n\n{compared(found)}")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
