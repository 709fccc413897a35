"""The tables of the README: a phone that nothing here has met, asked about all its fingerprints.

    CASCADE_DATA=… python examples/indoor_location/measure.py [--made-up] [--json FILE]

Trains, finds the floor's threshold by `cascade calibrate` on the phones for choosing, and asks: the device alone, the
cloud alone, and the cascade in memory. Then a device that has met the phones for choosing is given the new one.
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
from typing import Any, NamedTuple

import numpy as np
from fingerprints import Fingerprints, Site, data_file, made_up, surveyed
from network import Array
from train import main as train
from train import recorded

from cascade.adapters.bundle_folder import open_release, write_release
from cascade.adapters.world import InMemoryCascade
from cascade.inference.recordings import Recordings
from cascade.messages import Answer
from cascade.release.ladder import Care

TARGET = "at most 1 points worse than the cloud, with 90 % confidence"
JOULES_PER_BYTE = 5e-6
"""Assumed, of a phone's Wi-Fi."""
KNOWN_FIRST = 400


class Row(NamedTuple):
    """One system on one task."""

    task: str
    system: str
    score: dict[str, float]
    on_device: float
    bytes_up: float
    joules: float


def calibrated(folder: Path, target: str = TARGET) -> None:
    """By the command, as anybody would."""
    command = [sys.executable, "-m", "cascade_cli", "calibrate", str(folder / "floor"), "--target", target,
               "--recordings", str(folder / "said.npz"), "--record", str(folder / "floor_choose.npz")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def floor_score(said: Array, test: Fingerprints) -> dict[str, float]:
    return {"right": float((said == test.floors).mean())}


def position_score(said: Array, test: Fingerprints) -> dict[str, float]:
    off = np.linalg.norm(said - test.metres, axis=1)
    return {"mean m": float(off.mean()), "95 % within m": float(np.quantile(off, 0.95))}


SCORES = {"floor": floor_score, "position": position_score}


def alone(task: str, tier: str, found: Recordings, test: Fingerprints) -> Row:
    """One tier's model on everything, by its recorded predictions."""
    (stage,) = [each for each in found.stages if each.tier == tier]
    said = stage.columns["values"] if task == "position" else np.array(stage.labels)[stage.columns["scores"].argmax(1)]
    up = float(found.input_bytes.mean()) if tier == "cloud" else 0.0
    joules = float(stage.joules.mean()) if tier == "edge" else up * JOULES_PER_BYTE
    return Row(
        task, f"{'device' if tier == 'edge' else 'cloud'} only", SCORES[task](said, test), float(not up), up, joules
    )


def careless(release: Path, folder: Path) -> Path:
    """The same, with thresholds that never move: to see what being careful costs and saves."""
    shutil.copytree(release, folder)
    found = open_release(folder, "edge").manifest
    write_release(
        folder, found.name, found.task, found.gates, found.promise, references=found.references, care=Care(most=1.0)
    )
    return folder


def cascade(task: str, release: Path, test: Fingerprints, system: str = "cascade") -> Row:
    with InMemoryCascade(release, joules_per_byte=JOULES_PER_BYTE) as made:
        answers = [made.ask(row, final=True) for row in test.rssi]
        totals = made.totals()
    asked = len(answers)
    at_device = totals.answered_by.get("edge", 0) / asked
    return Row(
        task, system, SCORES[task](np.array([_said(each) for each in answers]), test),
        at_device, totals.bytes_up.get("edge", 0) / asked, totals.joules["edge"] / asked,
    )  # fmt: skip


def _said(answer: Answer) -> Any:
    return answer.label or answer.prediction.values  # type: ignore[union-attr]


def noticed(release: Path, known: Fingerprints, new: Fingerprints, seed: int = 0) -> dict[str, Any]:
    """How many questions of the new phone until the device says that its guarantee is in doubt; and false alarms."""
    dice = np.random.default_rng(seed)
    first, then = dice.permutation(len(known.rssi))[:KNOWN_FIRST], dice.permutation(len(new.rssi))[:KNOWN_FIRST]
    after: int | None = None
    with InMemoryCascade(release) as made:
        climbed = [made.ask(row, final=True).tier != "edge" for row in known.rssi[first]]
        early = made.stood().doubts
        later = []
        for asked, row in enumerate(new.rssi[then], 1):
            later.append(made.ask(row, final=True).tier != "edge")
            if after is None and made.stood().doubts:
                after = asked
        doubts = made.stood().doubts
    return {
        "false alarm before": list(early), "noticed after": after, "doubts": list(doubts),
        "climbed known": float(np.mean(climbed)), "climbed new": float(np.mean(later)),
    }  # fmt: skip


def measure(folder: Path, site: Site, target: str = TARGET) -> tuple[list[Row], dict[str, Any]]:
    train(folder, site)
    calibrated(folder, target)
    rows, drift = [], {}
    for task in SCORES:
        found = recorded(folder / task, site.test)
        rows += [alone(task, "edge", found, site.test), alone(task, "cloud", found, site.test)]
        rows.append(cascade(task, folder / task, site.test))
        still = careless(folder / task, folder / f"{task}-careless")
        rows.append(cascade(task, still, site.test, "never careful"))
        drift[task] = noticed(folder / task, site.choose, site.test)
    return rows, drift


def shown(rows: list[Row]) -> str:
    lines = ["| task | | result | on the device | bytes up | device joules |", "|---|---|---|---|---|---|"]
    for row in rows:
        score = ", ".join(
            f"{each:.1%} {name}" if name == "right" else f"{name} {each:.1f}" for name, each in row.score.items()
        )
        costs = f"{row.on_device:.1%} | {row.bytes_up:.0f} | {1e6 * row.joules:.1f} µJ"
        lines.append(f"| {row.task} | {row.system} | {score} | {costs} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--made-up", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not options.made_up and "CASCADE_DATA" not in os.environ:
        print("indoor_location: CASCADE_DATA is not set, nothing was measured")
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows, drift = measure(Path(temporary), made_up() if options.made_up else surveyed(data_file()))
    print(f"{shown(rows)}\n")
    for task, found in drift.items():
        print(f"another phone, {task}: {json.dumps(found)}")
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": [row._asdict() for row in rows], "drift": drift}, indent=1))


if __name__ == "__main__":
    main()
