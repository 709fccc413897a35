"""The tables of the README, on the 10,000 images of the test set, which nothing here was trained or chosen on.

    CASCADE_DATA=… python examples/fashion/measure.py [--kind mnist] [--json FILE]

First the device alone: its early exits, with thresholds that `cascade calibrate` finds on the images for choosing,
beside its last exit, the same network trained without exits, and smaller ones. Then `cascade evaluate` of the cascade.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from asking import Found, ask_all
from data import FASHION, KINDS, Kind, Split, drawn, home, real, save

from cascade.adapters.bundle_folder import open_release, write_release
from cascade.inference.shares import wilson
from cascade.release.bundle import StageGate
from cascade.release.ladder import GateSpec

ALONE_TARGET = "at most 0.5 points worse than the cloud, with 90 % confidence"
"""Of a ladder of one tier "the cloud" is its last stage."""
EXITS, LAST, PLAIN = "early exits", "last exit", "plain"
TIMED = 2_000


def command(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cascade_cli", *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def alone(release: Path, folder: Path, kind: Kind, gate: GateSpec) -> Path:
    """The device's bundle in a release of its own, with one gate before all exits but the last."""
    shutil.copytree(release / "edge", folder / "edge")
    stages = open_release(release, "edge").bundle.manifest.stages
    gates = [StageGate(tier="edge", stage=stage.name, gate=gate) for stage in stages[:-1]]
    gates.append(StageGate(tier="edge", stage=stages[-1].name, gate=GateSpec("always")))
    write_release(folder, "alone", kind.name, gates)
    return folder


def calibrated(folder: Path, kind: Kind, split: Split, work: Path, target: str) -> Path:
    samples = work / "choose.npz"
    save(samples, split.choose, kind)
    command("calibrate", folder, "--recordings", work / "alone.npz", "--record", samples, "--target", *target.split())
    return folder


def device_alone(release: Path, singles: Path, kind: Kind, split: Split, timed: int, target: str) -> dict[str, Found]:
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        exits = alone(release, work / "exits", kind, GateSpec("confidence", 0.9))
        folders = {
            EXITS: calibrated(exits, kind, split, work, target),
            LAST: alone(release, work / "last", kind, GateSpec("never")),
            **{folder.name: folder for folder in sorted(singles.iterdir())},
        }
        return ask_all(folders, kind, split.test, timed)


def as_row(found: Found) -> dict[str, Any]:
    right = float(found.right.mean())
    return {
        "right": right,
        "interval": wilson(right, len(found.right)),
        "multiply_adds": float(found.multiply_adds.mean()),
        "ms": float(found.ms.mean()),
        "ms_p50": float(np.quantile(found.ms, 0.5)),
        "ms_p95": float(np.quantile(found.ms, 0.95)),
        "answered_by": [float((found.stages == count).mean()) for count in range(1, int(found.stages.max()) + 1)],
    }


def told(rows: dict[str, dict[str, Any]]) -> None:
    print("| the device alone | right | 95 % interval | multiply-adds | ms, mean | p50 | p95 |")
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        low, high = row["interval"]
        figures = f"{row['multiply_adds'] / 1e6:.2f} M | {row['ms']:.3f} | {row['ms_p50']:.3f} | {row['ms_p95']:.3f}"
        print(f"| {name} | {row['right']:.2%} | {low:.2%} to {high:.2%} | {figures} |")
    exits, last, plain = rows[EXITS], rows[LAST], rows.get(PLAIN)
    shares = ", ".join(f"{share:.1%}" for share in exits["answered_by"])
    print(f"\nAnswered at each exit: {shares}.")
    for name, other in {LAST: last, "the same network without exits": plain}.items():
        if other is not None:
            print(
                f"Beside {name}: {100 * (exits['right'] - other['right']):+.2f} points, "
                f"{1 - exits['multiply_adds'] / other['multiply_adds']:.0%} fewer multiply-adds, "
                f"{1 - exits['ms'] / other['ms']:.0%} less time on average."
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default=FASHION.name, help="of images")
    parser.add_argument("--release", type=Path, help="(default: release, mnist/release)")
    parser.add_argument("--singles", type=Path, help="(default: single, mnist/single)")
    parser.add_argument("--json", type=Path, help="for programs: write the figures there")
    parser.add_argument("--drawn", action="store_true", help="on drawn garments, and of the device alone")
    parser.add_argument("--target", default=ALONE_TARGET, help="of the device's early exits")
    wanted = parser.parse_args()
    kind = KINDS[wanted.kind]
    split = drawn() if wanted.drawn else real(kind)
    if split is None:
        print(f"CASCADE_DATA doesn't name {kind.title}: nothing was measured")
        return
    release, singles = wanted.release or home(kind) / "release", wanted.singles or home(kind) / "single"
    found = device_alone(release, singles, kind, split, TIMED, wanted.target)
    figures: dict[str, Any] = {"device": {name: as_row(each) for name, each in found.items()}}
    told(figures["device"])
    if not wanted.drawn:
        config = [home(kind) / "evaluate.toml", "--data-root", os.environ["CASCADE_DATA"]]
        print("\n" + command("evaluate", *config))
        figures["cascade"] = json.loads(command("evaluate", *config, "--json"))
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
