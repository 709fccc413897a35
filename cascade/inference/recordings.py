"""Recorded predictions: what each stage of a ladder said, or would have said, of each sample of a data set.

Recorded before any calibration, so that one recording serves to fit calibrations, thresholds and learned gates, and to
score ladders that never ran. A recording names the exact stages that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.errors import CascadeError
from cascade.inference.calibration import calibrator
from cascade.inference.gate import ANOMALY_LABELS
from cascade.messages import AnomalyScore, ClassScores, Detection, Detections, Estimate, Prediction
from cascade.release.calibrated import Calibration
from cascade.release.words import TIERS

Array = npt.NDArray[Any]

NO_LABEL = -1
REPEATED = "repeated"
"""A note: share of samples that say, bit by bit, what one before them said. Absent: nobody counted them."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "classes": ("scores",),
    "estimate": ("values", "spreads"),
    "anomaly": ("score", "limit"),
    "detections": ("nothing", "count", "label", "found", "box"),
}
"""Arrays of each kind of prediction, one row per sample. Of detections the last three have a row per thing found."""


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
        return replace(self, columns=columns, cues=cues, ran=self.ran[rows], ms=self.ms[rows], joules=self.joules[rows])


@dataclass(frozen=True, eq=False, kw_only=True)
class Recordings:
    """All stages of a ladder, from the device up, on one data set."""

    task: str
    stages: tuple[StageRecord, ...]
    label_names: tuple[str, ...] = ()
    label: Array
    """Of each sample: which of `label_names` is right; -1: nobody knows."""
    input_bytes: Array
    """Of each sample: what sending it up takes, as compressed as links do."""
    max_input_bytes: int
    """What no sample's message can exceed, known from its shape."""
    digest: str = ""
    source: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mistakes = recording_mistakes(self)
        if mistakes:
            raise BadRecording("; ".join(mistakes))

    @property
    def samples(self) -> int:
        return len(self.label)

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


def recording_mistakes(recordings: Recordings) -> list[str]:
    """What doesn't hold together. Empty: it does."""
    samples = recordings.samples
    mistakes = [] if recordings.stages else ["a recording without a stage"]
    if not samples:
        mistakes.append("a recording without a sample")
    sizes = recordings.input_bytes
    if len(sizes) != samples or not np.all((sizes >= 0) & (sizes <= recordings.max_input_bytes)):
        mistakes.append("input bytes that don't fit the samples")
    if samples and not -1 <= recordings.label.min() <= recordings.label.max() < max(1, len(recordings.label_names)):
        mistakes.append("a label without a name")
    if not is_share(recordings.notes.get(REPEATED, "0")):
        mistakes.append("a share of repeated samples that is none")
    order = [TIERS.index(stage.tier) if stage.tier in TIERS else -1 for stage in recordings.stages]
    if -1 in order or order != sorted(order):
        mistakes.append(f"stages are listed from the device up: {', '.join(TIERS)}")
    names = [(stage.tier, stage.name) for stage in recordings.stages]
    if len(set(names)) != len(names):
        mistakes.append("two stages of one tier have one name")
    for stage in recordings.stages:
        mistakes += [f"stage {stage.name} of {stage.tier}: {mistake}" for mistake in _stage_mistakes(stage, samples)]
    return mistakes


def is_share(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def _stage_mistakes(stage: StageRecord, samples: int) -> list[str]:
    wanted = COLUMNS.get(stage.kind)
    if wanted is None or set(stage.columns) != set(wanted):
        return [f"no columns of a prediction of kind {stage.kind!r}"]
    things = int(stage.columns["count"].sum()) if stage.kind == "detections" else samples
    lengths = {name: things if name in ("label", "found", "box") else samples for name in wanted}
    parts = {**stage.columns, "ran": stage.ran, "ms": stage.ms, "joules": stage.joules}
    if stage.cues is not None:
        parts["cues"] = stage.cues
    wrong = [name for name, array in parts.items() if len(array) != lengths.get(name, samples)]
    if stage.kind == "classes" and (stage.columns["scores"].ndim != 2 or not stage.columns["scores"].shape[1]):
        wrong.append("scores")
    elif stage.kind == "classes" and stage.labels and stage.columns["scores"].shape[1] != len(stage.labels):
        return [f"{stage.columns['scores'].shape[1]} scores for {len(stage.labels)} labels"]
    return [f"other counts than {samples} in {', '.join(wrong)}"] if wrong else []
