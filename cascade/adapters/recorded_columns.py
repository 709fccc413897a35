"""What one stage said of sample after sample, as it becomes the columns of its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cascade.inference.recordings import Array, StageRecord
from cascade.messages import AnomalyScore, Detections, Energy, Estimate, Prediction
from cascade.release.assembled import SHORT_DIGEST
from cascade.release.bundle import BundleManifest, StageSpec, stage_digest
from cascade.release.segments import roots_of

Said = Prediction | None
"""None: the stage failed, or could not read the sample."""


class Heard(NamedTuple):
    """Of one sample: what a stage said, and took."""

    said: Said = None
    ms: float = 0.0
    joules: float = 0.0
    energy: Energy | None = None
    """None: nothing ran to an end."""
    ran: bool = True
    """Not where there were no hidden features for it to go on from."""


class Column:
    """One stage, as far as it is recorded."""

    def __init__(self, manifest: BundleManifest, spec: StageSpec) -> None:
        self.manifest, self.spec = manifest, spec
        self.digest = stage_digest(spec, manifest)
        self.root = roots_of(manifest.stages)[spec.name]
        self.heard: list[Heard] = []
        self.sent: list[int] = []
        """Per sample: the message with its hidden features; 0 where these don't go."""

    def record(self) -> StageRecord:
        said = [each.said for each in self.heard]
        energy = {each.energy for each in self.heard if each.energy is not None}
        cues = [len(each.cues) for each in said if each is not None and each.cues]
        return StageRecord(
            tier=self.manifest.tier,
            name=self.spec.name,
            kind=self.spec.output.kind,
            labels=self.spec.labels,
            model=self.manifest.files[self.spec.file].sha256[:SHORT_DIGEST],
            stage_digest=self.digest,
            columns=_COLUMNS[self.spec.output.kind](said, self.spec),
            cues=_cues(said, cues[0]) if cues else None,
            ran=np.array([each.ran for each in self.heard], bool),
            ms=np.array([each.ms for each in self.heard]),
            joules=np.array([each.joules for each in self.heard]),
            energy=str(energy.pop()) if len(energy) == 1 else str(Energy.UNKNOWN),
            root=self.root,
            sent_bytes=np.array(self.sent, int) if self.spec.sends else None,
        )


def _cues(said: Sequence[Said], width: int) -> Array:
    empty = (np.nan,) * width
    return np.array([each.cues if each is not None and each.cues else empty for each in said])


def _rows(said: Sequence[Said], numbers: Callable[[Any], tuple[float, ...]], least: int = 1) -> Array:
    """One row each. float32 where that says the same: models speak it, and calibrations compute in float64."""
    rows = [() if each is None else numbers(each) for each in said]
    width = max([least, *map(len, rows)])
    array = np.array([row if len(row) == width else (np.nan,) * width for row in rows], np.float64)
    small = array.astype(np.float32)
    return small if np.array_equal(small.astype(np.float64), array, equal_nan=True) else array


def _classes(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    return {"scores": _rows(said, lambda each: each.scores, len(spec.labels) or 1)}


def _estimates(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    def values(each: Estimate) -> tuple[float, ...]:
        return each.values

    return {"values": _rows(said, values), "spreads": _rows(said, lambda each: each.spreads)}


def _anomalies(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    scores = [each.score if isinstance(each, AnomalyScore) else np.nan for each in said]
    return {"score": np.array(scores), "limit": np.full(len(scores), spec.output.limit)}


def _detections(said: Sequence[Said], spec: StageSpec) -> dict[str, Array]:
    readable = [each if isinstance(each, Detections) else Detections((), np.nan) for each in said]
    things = [thing for each in readable for thing in each.found]
    return {
        "nothing": np.array([each.nothing for each in readable]),
        "count": np.array([len(each.found) for each in readable]),
        "label": np.array([thing.label for thing in things], np.int64),
        "found": np.array([thing.score for thing in things], np.float64),
        "box": np.array([thing.box for thing in things], np.float64).reshape(-1, 4),
    }


_COLUMNS: Mapping[str, Callable[[Sequence[Said], StageSpec], dict[str, Array]]] = {
    "classes": _classes,
    "estimate": _estimates,
    "anomaly": _anomalies,
    "detections": _detections,
}
