"""What other thresholds would do: each gate moved alone, on what was recorded, through the gates that run.

Nothing is run again for it, and there is no clock: who would have answered, what goes up, what models take. Deadlines,
budgets and lost messages are in the replay of the release as it is, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cascade.inference.recordings import NO_LABEL, Recordings, StageRecord
from cascade.inference.scoring import NOBODY, Weighed, climb, weighed
from cascade.release.ladder import GateSpec
from cascade_cli.evaluate.intervals import Array
from cascade_cli.evaluate.replayed import distance

LEVELS = 60
"""Thresholds that are tried of each gate: quantiles of what it measured."""


class Point(NamedTuple):
    """One threshold. Bytes and joules are of the device, per question."""

    threshold: float
    right: float
    bytes_up: float
    joules: float
    device_share: float


class Sweep(NamedTuple):
    """One gate, the others as the release has them."""

    tier: str
    stage: str
    points: tuple[Point, ...]


def rights(recordings: Recordings, labels: Sequence[str], within: float) -> list[Array]:
    """Per stage and sample: 1 where what it says is right, 0 where not, NaN where nobody knows."""
    return [_right(recordings, stage, labels, within) for stage in recordings.stages]


def _right(recordings: Recordings, stage: StageRecord, labels: Sequence[str], within: float) -> Array:
    if stage.kind != "estimate":
        return recordings.right(stage)
    found = [
        float(distance(stage.prediction(index), label) <= within) if label else np.nan  # type: ignore[arg-type]
        for index, label in enumerate(labels)
    ]
    return np.where(stage.ran, found, np.nan)


def sweeps(
    recordings: Recordings, gates: Sequence[GateSpec], right: Sequence[Array], joules_per_byte: float
) -> list[Sweep]:
    """Of every gate below the top that has a threshold."""
    stages = [weighed(record, gate) for record, gate in zip(recordings.stages, gates, strict=True)]
    usual = [stage.gate.threshold for stage in stages]
    found = []
    for number, stage in enumerate(stages):
        if recordings.crossings.ends[number] or not stage.gate.measure.needs_threshold:
            continue
        points = []
        for level in _levels(stage):
            thresholds = [*usual[:number], level, *usual[number + 1 :]]
            points.append(_point(recordings, stages, thresholds, level, right, joules_per_byte))
        found.append(Sweep(stage.record.tier, stage.record.name, tuple(points)))
    return found


def _point(
    recordings: Recordings,
    stages: Sequence[Weighed],
    thresholds: Sequence[float | None],
    level: float,
    right: Sequence[Array],
    joules_per_byte: float,
) -> Point:
    scored = climb(recordings, stages, thresholds)
    table = np.stack([*right, np.zeros(recordings.samples)])  # the last row: nobody answered, and NOBODY is -1
    assert NOBODY == -1
    known = recordings.label != NO_LABEL
    hits = table[scored.answered_by, np.arange(recordings.samples)][known]
    sent = scored.device_bytes
    lowest = recordings.stages[0].tier
    device = [number for number, stage in enumerate(recordings.stages) if stage.tier == lowest]
    return Point(
        threshold=level,
        right=float(np.nanmean(hits)),
        bytes_up=float(sent.mean()),
        joules=float((scored.device_joules + sent * joules_per_byte).mean()),
        device_share=float(np.isin(scored.answered_by, device).mean()),
    )


def _levels(stage: Weighed) -> list[float]:
    """From where nothing is sure to where all is that could be read."""
    values = stage.values[stage.readable & np.isfinite(stage.values)].astype(float)
    if not len(values):
        return []
    below = stage.gate.measure.sure_below
    shares = np.linspace(0.0, 1.0, LEVELS)
    grid = np.quantile(values, shares if below else 1.0 - shares)
    nothing = np.nextafter(values.min(), -np.inf) if below else np.nextafter(values.max(), np.inf)
    return list(dict.fromkeys([float(nothing), *grid.tolist()]))
