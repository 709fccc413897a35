"""Accuracy, where labels arrive: how often an answer was what somebody later says is true, by the tier that gave it.

Labels come when they come, and of what somebody cared to look at. So this is the accuracy of the labelled answers, not
of all: of labels that were given to a random share it is both.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TypeAlias

from cascade.errors import BadInput
from cascade.inference.gate import ANOMALY_LABELS
from cascade.inference.shares import Estimated, RunningShare
from cascade.messages import AnomalyScore, Answer, ClassScores, Detections, Estimate

Label: TypeAlias = str | int | float | Sequence[float]

REMEMBERS = 500.0
"""Labels after which one counts e times less."""
MOST_PLACES = 256
"""Tasks and tiers that are kept apart."""
NOBODY = "none"
_SHOWN = 20


def is_right(answer: Answer, label: Label, words: Collection[str] = ()) -> bool:
    """Whether an answer says what the label says. An answer without a prediction is never right.

    Classes and anomalies by their word (`"yes"`, `"anomaly"`), classes without words by their number, estimates by
    their values: right within two standard deviations, as predictions agree. `words` are those that there are, where
    that is known. `BadInput` for what can't be compared, or can't be true: a misspelt label makes nobody wrong.
    """
    prediction = answer.prediction
    if prediction is None:
        return False
    if isinstance(prediction, Estimate):
        return _is_near(prediction, label)
    if isinstance(prediction, Detections):
        raise BadInput("a label can't be compared with things found in an image")
    if answer.label:
        return _is_word(answer.label, label, ANOMALY_LABELS if isinstance(prediction, AnomalyScore) else words)
    if not isinstance(prediction, ClassScores):
        raise BadInput(f"found the label {label!r}, expected none: this answer has no word and no number of a class")
    return _number(label, len(prediction.scores)) == prediction.best


def _is_word(said: str, label: Label, words: Collection[str]) -> bool:
    if not isinstance(label, str):
        raise BadInput(f"found the label {label!r}, expected a word, as {said!r}")
    if words and label not in words and said in words:
        known = sorted(words)
        raise BadInput(f"found the label {label!r}, expected one of {', '.join(known[:_SHOWN])}")
    return label == said


def _number(label: Label, classes: int) -> int:
    """Of a class: as a number, or as a word that is one."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    text = str(label) if isinstance(label, int | str) else ""
    if not (text.isdecimal() and len(text) <= len(str(classes)) and int(text) < classes):
        raise BadInput(f"found the label {label!r}, expected the number of a class: 0 to {classes - 1}")
    return int(text)


def _is_near(estimate: Estimate, label: Label) -> bool:
    wanted = BadInput(f"found the label {label!r}, expected {len(estimate.values)} numbers")
    try:
        values = [label] if isinstance(label, int | float | str) else label
        true = () if isinstance(label, str) else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise wanted from None
    if len(true) != len(estimate.values) or not all(map(math.isfinite, true)):
        raise wanted
    return estimate.agrees(Estimate(true, (0.0,) * len(true)))


class Accuracies:
    """By task and tier."""

    def __init__(self, remembers: float = REMEMBERS) -> None:
        self._remembers = remembers
        self._shares: dict[tuple[str, str], RunningShare] = {}

    def note(self, answer: Answer, right: bool) -> None:
        place = answer.task, answer.tier or NOBODY
        share = self._shares.get(place)
        if share is None:
            if len(self._shares) >= MOST_PLACES:
                return
            share = self._shares[place] = RunningShare(self._remembers)
        share.add(right)

    def said(self, task: str) -> dict[str, Estimated]:
        """By tier."""
        return {
            tier: found
            for (of_task, tier), share in self._shares.copy().items()
            if of_task == task and (found := share.estimated()) is not None
        }
