"""The pump: SKAB's test bed where it is, or a small made-up one; and what the field counts on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SKAB_FILE = "skab/skab_design.npz"
COMMISSIONING = 400
"""Rows at the beginning of each run: the pump as it should be. What is sensed is told in spreads from there, as SKAB's
own detectors do."""
WINDOW, STEP = 20, 10
LEARN, CHOOSE = slice(0, 8), slice(8, 12)
"""Runs, in the order in which they were recorded. The others are the test: four of them with another valve."""
DAY_S = 86_400.0


class Run(NamedTuple):
    """One experiment: rows of eight sensors, a second each."""

    name: str
    rows: Array
    anomalous: Array

    @property
    def ends(self) -> range:
        """Where windows end: from here back each looks at `WINDOW` rows, and speaks for the last `STEP`."""
        return range(WINDOW, len(self.rows) + 1, STEP)

    @property
    def windows(self) -> Array:
        return np.stack([self.rows[end - WINDOW : end] for end in self.ends])

    @property
    def truth(self) -> Array:
        return np.array([self.anomalous[end - 1] for end in self.ends], bool)


class Runs(NamedTuple):
    """Experiments apart."""

    learn: list[Run]
    choose: list[Run]
    test: list[Run]


def folder() -> Path:
    found = os.environ.get("CASCADE_DATA")
    if not found:
        raise SystemExit(f"CASCADE_DATA is not set: the folder with {SKAB_FILE}; or --made-up")
    return Path(found)


def test_bed(path: Path) -> Runs:
    with np.load(path, allow_pickle=False) as file:
        x, anomaly, offset, names = file["x"], file["anomaly"], file["offset"], file["names"]
    runs = [
        commissioned(str(name), x[begin:end], anomaly[begin:end])
        for name, begin, end in zip(names, offset[:-1], offset[1:], strict=True)
        if anomaly[begin:end].any()
    ]
    return Runs(runs[LEARN], runs[CHOOSE], runs[CHOOSE.stop :])


def commissioned(name: str, x: Array, anomaly: Array) -> Run:
    first = x[:COMMISSIONING]
    return Run(name, ((x - first.mean(0)) / np.maximum(first.std(0), 1e-6)).astype(np.float32), anomaly > 0)


def made_up(runs: int = 14, seed: int = 0) -> Runs:
    """Eight sensors of a pump whose valve is closed for a while: flow falls, current and vibration follow."""
    dice = np.random.default_rng(seed)
    made = []
    for number in range(runs):
        x = dice.normal(0, 1, (1000, 8)) + np.sin(np.arange(1000)[:, None] / 90 + np.arange(8))
        closed = np.zeros(1000)
        closed[550:900] = 1
        x += closed[:, None] * dice.uniform(0.5, 1.6) * np.array([0.5, 0.3, -0.8, 0, 0, 0.4, 0, -2.0])
        made.append(commissioned(f"made up {number}", x, closed))
    return Runs(made[LEARN], made[CHOOSE], made[CHOOSE.stop :])


class Count(NamedTuple):
    """What a detector did with some runs."""

    f1: float
    """Of rows, each on its own: no row counts as found because another one of its fault was (no point adjustment)."""
    false_alarm_rate: float
    """Share of normal rows that were called anomalous: SKAB's FAR."""
    missing_rate: float
    """Share of anomalous rows that were not: SKAB's MAR."""
    false_alarms_per_day: float
    """Times that it began to be called anomalous while it was not, per day of normal rows."""
    faults: int
    missed: int
    """Faults during which nothing was said at all."""
    delay_s: float
    """From the beginning of a fault until something is said, where it is: the median."""


def counted(runs: list[Run], said: list[Array]) -> Count:
    """`said` has a word per window of each run; it holds for the window's last `STEP` rows."""
    found = false = missed = rows_true = rows_false = alarms = faults = lost = 0
    delays = []
    for run, words in zip(runs, said, strict=True):
        begin = run.ends[0] - STEP
        truth = run.anomalous[begin : begin + STEP * len(words)]
        called = np.repeat(words, STEP)
        found += int((called & truth).sum())
        false += int((called & ~truth).sum())
        missed += int((~called & truth).sum())
        rows_true, rows_false = rows_true + int(truth.sum()), rows_false + int((~truth).sum())
        starts = np.flatnonzero(np.diff(called.astype(int), prepend=0) == 1)
        alarms += int((~truth[starts]).sum())
        edges = np.flatnonzero(np.diff(truth.astype(int), prepend=0, append=0))
        for first, last in edges.reshape(-1, 2):
            inside = np.flatnonzero(called[first:last])
            faults, lost = faults + 1, lost + (not len(inside))
            delays += [float(inside[0])] if len(inside) else []
    return Count(
        f1=2 * found / max(1, 2 * found + false + missed),
        false_alarm_rate=false / max(1, rows_false),
        missing_rate=missed / max(1, rows_true),
        false_alarms_per_day=alarms * DAY_S / max(1, rows_false),
        faults=faults,
        missed=lost,
        delay_s=float(np.median(delays)) if delays else float("nan"),
    )
