"""Recorded predictions: what each stage of a ladder said, or would have said, of each sample of a data set.

Recorded before any calibration, so that one recording serves to fit calibrations, thresholds and learned gates, and to
score ladders that never ran. A recording names the exact stages that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.errors import CascadeError
from cascade.inference.calibration import calibrator
from cascade.inference.crossings import Crossings, crossings_of
from cascade.inference.gate import ANOMALY_LABELS
from cascade.inference.recording_mistakes import recording_mistakes
from cascade.messages import AnomalyScore, ClassScores, Detection, Detections, Estimate, Prediction
from cascade.release.calibrated import Calibration

Array = npt.NDArray[Any]

NO_LABEL = -1
REPEATED = "repeated"
"""A note: share of samples that say, bit by bit, what one before them said. Absent: nobody counted them."""
ENCODING = "encoding"
"""A note: how inputs and hidden features were compressed, and so which of the two is smaller."""


class BadRecording(CascadeError):
    """A recording that doesn't hold together, or is not of what it is used for."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StageRecord:
    """One stage, on all samples. Where it failed its numbers are NaN; where it didn't run `ran` is false."""

    tier: str
    name: str
    kind: str
    labels: tuple[str, ...]
    model: str
    """First characters of the model file's digest."""
    stage_digest: str
    columns: Mapping[str, Array]
    cues: Array | None = None
    ran: Array
    ms: Array
    joules: Array
    energy: str = "unknown"
    root: str = ""
    """The segment of a tier below to whose hidden features it all goes back, by its stage digest; empty: the input."""
    sent_bytes: Array | None = None
    """Per sample: its message with this segment's hidden features in place of what it brought; 0 where they don't go,
    because they are no smaller, or not there. None: it sends none."""
    calibrated: bool = False

    @property
    def samples(self) -> int:
        return len(self.ran)

    def prediction(self, index: int) -> Prediction:
        """As the stage said it."""
        columns = self.columns
        match self.kind:
            case "classes":
                cues = () if self.cues is None else tuple(self.cues[index].astype(float).tolist())
                return ClassScores(tuple(columns["scores"][index].tolist()), cues)
            case "estimate":
                return Estimate(tuple(columns["values"][index].tolist()), tuple(columns["spreads"][index].tolist()))
            case "anomaly":
                return AnomalyScore(float(columns["score"][index]), float(columns["limit"][index]))
        return self._detections(index)

    def _detections(self, index: int) -> Detections:
        columns = self.columns
        end = int(columns["count"][: index + 1].sum())
        rows = slice(end - int(columns["count"][index]), end)
        found = zip(columns["label"][rows].tolist(), columns["found"][rows].tolist(), columns["box"][rows], strict=True)
        return Detections(
            tuple(Detection(label, score, tuple(box.tolist())) for label, score, box in found),
            float(columns["nothing"][index]),
        )

    def bent(self, calibration: Calibration | None) -> StageRecord:
        """As the stage says it under this calibration; `BadRecording` if that is another stage's."""
        if calibration is None or self.calibrated:
            return self
        if calibration.stage_digest != self.stage_digest:
            raise BadRecording(f"stage {self.name} of {self.tier}: the calibration was fitted on another stage")
        scores = calibrator(calibration)(self.columns["scores"])
        return replace(self, columns={**self.columns, "scores": scores}, calibrated=True)

    def taken(self, rows: Array) -> StageRecord:
        """Of some samples only, in this order."""
        if self.kind == "detections":
            ends = np.cumsum(self.columns["count"])
            parts = [np.arange(ends[row] - self.columns["count"][row], ends[row]) for row in rows]
            things = np.concatenate(parts).astype(int) if parts else np.zeros(0, int)
            per_thing = ("label", "found", "box")
            columns = {name: each[things if name in per_thing else rows] for name, each in self.columns.items()}
        else:
            columns = {name: each[rows] for name, each in self.columns.items()}
        cues = None if self.cues is None else self.cues[rows]
        sent = None if self.sent_bytes is None else self.sent_bytes[rows]
        return replace(
            self,
            columns=columns,
            cues=cues,
            ran=self.ran[rows],
            ms=self.ms[rows],
            joules=self.joules[rows],
            sent_bytes=sent,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Recordings:
    """All stages of a ladder, from the device up, on one data set."""

    task: str
    stages: tuple[StageRecord, ...]
    label_names: tuple[str, ...] = ()
    label: Array
    """Of each sample: which of `label_names` is right; -1: nobody knows."""
    input_bytes: Array
    """Of each sample: what sending its input up takes, as compressed as links do."""
    max_input_bytes: int
    """What no sample's message can exceed, known from its shape."""
    digest: str = ""
    source: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it: `REPEATED`, `ENCODING`."""

    def __post_init__(self) -> None:
        mistakes = recording_mistakes(self, self.notes.get(REPEATED, "0"))
        if mistakes:
            raise BadRecording("; ".join(mistakes))

    @property
    def samples(self) -> int:
        return len(self.label)

    @cached_property
    def crossings(self) -> Crossings:
        return crossings_of(self.stages, self.input_bytes)

    @property
    def repeated_share(self) -> float:
        """As it was counted of all that were recorded together; 0 where it was not."""
        return float(self.notes.get(REPEATED, "0"))

    def taken(self, rows: Array) -> Recordings:
        return replace(
            self,
            stages=tuple(stage.taken(rows) for stage in self.stages),
            label=self.label[rows],
            input_bytes=self.input_bytes[rows],
        )

    def right(self, stage: StageRecord) -> Array:
        """1 where the stage's word is the label's, 0 where not, NaN where nobody knows the label or it didn't run."""
        said = said_labels(stage, self.label_names)
        right: Array = (said == self.label).astype(float)
        right[(self.label == NO_LABEL) | ~stage.ran] = np.nan
        return right


def readable_scores(scores: Array) -> Array:
    """Row by row what `ClassScores.readable` says."""
    return np.asarray(((scores >= 0.0) & (scores <= 1.0)).all(axis=1))


def readable_samples(stage: StageRecord) -> Array:
    """Per sample: whether what the stage said can be weighed at all."""
    if stage.kind == "classes":
        return readable_scores(stage.columns["scores"])
    return np.array([stage.prediction(index).readable() for index in range(stage.samples)], bool)


def words_of(stage: StageRecord) -> tuple[str, ...]:
    """What the stage can say; empty where it doesn't speak in words: estimates, detections, classes by number."""
    if stage.kind == "anomaly":
        return ANOMALY_LABELS
    return stage.labels if stage.kind == "classes" else ()


def said_labels(stage: StageRecord, names: Sequence[str]) -> Array:
    """Per sample: which of `names` the stage says; -2 for what is not among them or can't be read."""
    places = {name: index for index, name in enumerate(names)}
    words = words_of(stage)
    if not words:
        return np.full(stage.samples, -2)
    index = np.array([places.get(word, -2) for word in words])
    best = best_of(stage)
    return np.where(best >= 0, index[np.maximum(best, 0)], -2)


def best_of(stage: StageRecord) -> Array:
    """Per sample: the number of the class that the stage says, of anomalies 1; -2 where it can't be read."""
    if stage.kind == "anomaly":
        score = stage.columns["score"]
        return np.where(np.isnan(score), -2, (score >= stage.columns["limit"]).astype(int))
    scores = stage.columns["scores"]
    readable = readable_scores(scores)
    return np.where(readable, np.where(readable[:, None], scores, 0.0).argmax(axis=1), -2)
