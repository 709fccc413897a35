"""A gate reads a prediction and says: answer, climb, or drop. What it can't read climbs."""

from __future__ import annotations

from math import isnan
from typing import Protocol

from cascade.errors import BundleRejected
from cascade.inference.gates import GATES
from cascade.inference.gates.deferral import DeferralGate
from cascade.messages import (
    PREDICTION_KINDS,
    AnomalyScore,
    ClassScores,
    Decision,
    Prediction,
    Verdict,
)
from cascade.release.ladder import LadderStage


class Measure(Protocol):
    """What a kind of gate is: a number read from a prediction, and on which side of the threshold it is sure."""

    reads: tuple[type[Prediction], ...]
    needs_threshold: bool
    sure_of_all: bool
    """Without a threshold: whether it is sure of whatever can be read, or of nothing."""
    sure_below: bool
    """True where a small number means sure (entropy, spread)."""

    def of(self, prediction: Prediction) -> float: ...


LEAST = 1e-9
"""Of doubt: where a threshold allows none at all, who is careful allows less than that."""
UNREADABLE = Decision(Verdict.CLIMB, "unreadable")
ANSWER = Verdict.ANSWER


class Gate:
    """The gate of one stage: its measure, its threshold, and what it drops."""

    def __init__(self, stage: LadderStage) -> None:
        spec = stage.gate
        measure = GATES.get(spec.name)
        if measure is None:
            raise BundleRejected(f"stage {stage.name}: no gate {spec.name!r}; there are {', '.join(sorted(GATES))}")
        if stage.kind not in PREDICTION_KINDS:
            known = ", ".join(sorted(PREDICTION_KINDS))
            raise BundleRejected(f"stage {stage.name}: no prediction of kind {stage.kind!r}; there are {known}")
        self.reads = PREDICTION_KINDS[stage.kind]
        if self.reads not in measure.reads:
            raise BundleRejected(f"stage {stage.name}: the gate {spec.name} can't read {stage.kind} predictions")
        if measure.needs_threshold and (spec.threshold is None or isnan(spec.threshold)):
            raise BundleRejected(f"stage {stage.name}: the gate {spec.name} needs a threshold")
        if isinstance(measure, DeferralGate):
            measure = measure.learned(stage)
        missing = [label for label in spec.drop if label not in possible_labels(stage)]
        if missing:
            raise BundleRejected(f"stage {stage.name}: no labels {', '.join(missing)} to drop")
        self.stage = stage
        self.measure = measure
        self.threshold = spec.threshold if measure.needs_threshold else None
        self.usual_threshold = self.threshold
        self.drop = frozenset(spec.drop)
        self._classes = len(stage.labels)
        """How many scores there have to be; 0: any number."""

    def decide(self, prediction: Prediction) -> Decision:
        if type(prediction) is not self.reads or not prediction.readable():
            return UNREADABLE
        if self._classes and isinstance(prediction, ClassScores) and len(prediction.scores) != self._classes:
            return UNREADABLE
        measure, threshold = self.measure, self.threshold
        value = measure.of(prediction)
        known = value if value == value else None  # NaN is no number to tell
        # Asked so that NaN is never sure: every comparison with it is false.
        if threshold is None:
            sure = measure.sure_of_all
        else:
            sure = value <= threshold if measure.sure_below else value >= threshold
        if not sure:
            return Decision(Verdict.CLIMB, self._why_not(value), known, threshold)
        if self.drop and label_of(self.stage, prediction) in self.drop:
            return Decision(Verdict.DROP, "nothing_here", known, threshold)
        return Decision(ANSWER, "sure", known, threshold)

    def be_careful(self, less_doubt: float) -> None:
        """Allow so many times less doubt than the release's threshold does; 1: as the release says."""
        usual = self.usual_threshold
        if usual is None or less_doubt <= 1.0:
            self.threshold = usual
        elif self.measure.sure_below:
            self.threshold = usual / less_doubt if usual > 0.0 else (usual or -LEAST) * less_doubt
        else:
            self.threshold = max(usual, 1.0 - (1.0 - usual) / less_doubt) if usual < 1.0 else 1.0 + LEAST

    def as_usual(self, prediction: Prediction) -> Decision:
        """What it would say if it were not careful."""
        careful, self.threshold = self.threshold, self.usual_threshold
        decision = self.decide(prediction)
        self.threshold = careful
        return decision

    def _why_not(self, value: float) -> str:
        if self.threshold == self.usual_threshold or self.usual_threshold is None:
            return "unsure"
        below, usual = self.measure.sure_below, self.usual_threshold
        return "careful" if (value <= usual if below else value >= usual) else "unsure"


def possible_labels(stage: LadderStage) -> tuple[str, ...]:
    return ANOMALY_LABELS if stage.kind == "anomaly" else stage.labels


def label_of(stage: LadderStage, prediction: Prediction) -> str:
    """The word for what was predicted; empty where there is none."""
    if isinstance(prediction, ClassScores):
        labels, scores = stage.labels, prediction.scores
        return labels[scores.index(max(scores))] if labels and len(labels) == len(scores) else ""
    if isinstance(prediction, AnomalyScore):
        return ANOMALY_LABELS[prediction.anomalous]
    return ""


ANOMALY_LABELS = ("normal", "anomaly")
