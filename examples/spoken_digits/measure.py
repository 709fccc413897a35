"""A new speaker: each of them in turn is left out, and then speaks to a device that has only heard the others.

    CASCADE_DATA=… python examples/spoken_digits/measure.py [--json FILE]

For each: models are trained without them, thresholds found by `cascade calibrate` on recordings of the others, and a
device is asked in memory, first all test clips of the others, then all clips of the stranger, in five orders. Told are
what the device alone and the cascade get right before and after, when drift was noticed, and how much was escalated.
`strict`: the stranger is new to both models. `known above`: the model above has heard other recordings of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from clips import Array, Clips, read
from msgspec.structs import replace
from train import fsdd, warn_of_missing, write

from cascade.adapters.bundle_folder import open_release, write_release
from cascade.adapters.world import InMemoryCascade
from cascade.inference.careful import Standing
from cascade.release.ladder import GateSpec

TARGET = "at most 2 points worse than the cloud, with 90 % confidence"
ORDERS = 5
WITHIN = 200
"""Questions of the stranger's, in which drift shall be noticed."""


class Heard(NamedTuple):
    """Of one speaker, or several: shares."""

    right: float
    escalated: float


class Met(NamedTuple):
    """What came of one stranger: the mean over the orders, and of the questions until noticed all of them."""

    stranger: str
    way: str
    device: tuple[float, float]
    """What is right: of the others, of the stranger."""
    above: tuple[float, float]
    cascade: tuple[Heard, Heard]
    bytes_up: tuple[float, float]
    """Per question."""
    noticed: tuple[int | None, ...]
    doubts: tuple[str, ...]
    false_alarms: int
    """Orders in which the device had become careful before the stranger came."""

    @property
    def falls(self) -> tuple[float, float]:
        """Of the device alone, and of the cascade."""
        return self.device[0] - self.device[1], self.cascade[0].right - self.cascade[1].right


def calibrated(folder: Path, target: str = TARGET) -> None:
    """By the command, as anybody would. It says so where the clips can't support the promise."""
    files = ["--recordings", str(folder / "recordings.npz"), "--record", str(folder / "calibrate.npz")]
    command = [sys.executable, "-m", "cascade_cli", "calibrate", str(folder / "release"), *files, "--target", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def loaded(path: Path) -> tuple[Array, list[str]]:
    with np.load(path) as file:
        return file["sound"], file["labels"].tolist()


def pairs(path: Path) -> list[tuple[Array, str]]:
    return list(zip(*loaded(path), strict=True))


def right_alone(folder: Path, gate: str, parts: Iterable[Path]) -> list[float]:
    """With this gate on the device: `always` is the device alone, `never` the model above alone."""
    there = folder / gate
    shutil.copytree(folder / "release", there)
    manifest = open_release(there, "edge").manifest
    gates = [replace(each, gate=GateSpec(gate)) if each.tier == "edge" else each for each in manifest.gates]
    write_release(there, manifest.name, manifest.task, gates)
    with InMemoryCascade(there) as cascade:
        return [
            mean(cascade.ask(sound, final=True).label == label for sound, label in part) for part in map(pairs, parts)
        ]


class Stream:
    """A device that is asked one clip after the other."""

    def __init__(self, release: Path, seed: int) -> None:
        self.cascade = InMemoryCascade(release, seed=seed)
        self._dice = np.random.default_rng(seed)

    def hear(self, sounds: Array, labels: Sequence[str]) -> tuple[Heard, int | None, float]:
        """Also: after how many questions it was careful, and bytes up per question."""
        right = climbed = 0
        noticed: int | None = None
        before = self.cascade.totals().bytes_up.get("edge", 0)
        for count, row in enumerate(self._dice.permutation(len(labels)), 1):
            answer = self.cascade.ask(sounds[row], final=True)
            right += answer.label == labels[row]
            climbed += answer.tier != "edge"
            if noticed is None and self.cascade.stood().standing == Standing.CAREFUL:
                noticed = count
        sent = self.cascade.totals().bytes_up.get("edge", 0) - before
        return Heard(right / len(labels), climbed / len(labels)), noticed, sent / len(labels)


def meet(folder: Path, stranger: str, way: str, orders: int = ORDERS) -> Met:
    """`folder`: as `train.py` leaves it, calibrated."""
    paths = folder / "test.npz", folder / "stranger.npz"
    known, new, noticed, doubts, false_alarms = [], [], [], set[str](), 0
    for seed in range(orders):
        stream = Stream(folder / "release", seed)
        with stream.cascade:
            heard, alarm, sent = stream.hear(*loaded(paths[0]))
            known.append((*heard, sent))
            false_alarms += alarm is not None
            heard, alarm, sent = stream.hear(*loaded(paths[1]))
            new.append((*heard, sent))
            noticed.append(alarm)
            doubts |= set(stream.cascade.stood().doubts)
    means = [[mean(column) for column in zip(*rows, strict=True)] for rows in (known, new)]
    device, above = (right_alone(folder, gate, paths) for gate in ("always", "never"))
    return Met(
        stranger, way, (device[0], device[1]), (above[0], above[1]),
        (Heard(*means[0][:2]), Heard(*means[1][:2])), (means[0][2], means[1][2]),
        tuple(noticed), tuple(sorted(doubts)), false_alarms,
    )  # fmt: skip


def measure(clips: Clips, folder: Path, ways: Sequence[str], strangers: Sequence[str]) -> Iterable[Met]:
    for way in ways:
        for stranger in strangers:
            here = folder / f"{way}-{stranger}".replace(" ", "-")
            here.mkdir()
            write(here, clips, stranger, known_above=way != "strict")
            calibrated(here)
            yield meet(here, stranger, way)


HEADER = (
    "| stranger | the model above | device alone | above alone | cascade | fall: device, cascade | escalated "
    "| noticed after |\n|---|---|---|---|---|---|---|---|"
)


def row(met: Met) -> str:
    def change(pair: Sequence[float]) -> str:
        return f"{pair[0]:.1%} → {pair[1]:.1%}"

    right, escalated = zip(*met.cascade, strict=True)
    device, cascade = (100.0 * fall for fall in met.falls)
    falls = f"{device:.1f}, {cascade:.1f}: {'kept' if cascade < device / 2 else 'missed'}"
    noticed = ", ".join("never" if each is None else str(each) for each in met.noticed)
    known = "has not heard them" if met.way == "strict" else "has heard them"
    shares = (change(met.device), change(met.above), change(right))
    return f"| {' | '.join((met.stranger, known, *shares, falls, change(escalated), noticed))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--ways", nargs="+", choices=("strict", "known above"), default=["strict", "known above"])
    parser.add_argument("--strangers", nargs="+", metavar="SPEAKER", help="absent, each in turn")
    parser.add_argument("--clips", type=Path, help="a file like FSDD's; absent, the one in CASCADE_DATA")
    options = parser.parse_args()
    if options.clips is None and "CASCADE_DATA" not in os.environ:
        print("spoken_digits: CASCADE_DATA is not set, nothing was measured")
        return
    found: list[dict[str, Any]] = []
    warn_of_missing()
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        clips = read(options.clips or fsdd())
        for met in measure(clips, Path(temporary), options.ways, options.strangers or list(clips.names.values())):
            print(row(met), flush=True)
            found.append({**met._asdict(), "falls": met.falls})
    in_time = sum(each is not None and each <= WITHIN for met in found for each in met["noticed"])
    asked, early = sum(len(met["noticed"]) for met in found), sum(met["false_alarms"] for met in found)
    print(f"\nnoticed within {WITHIN} questions: {in_time} of {asked}; careful before that: {early} of {asked}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
