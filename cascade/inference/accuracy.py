"""Accuracy, where labels arrive: how often an answer was what somebody later says is true, by the tier that gave it.

Labels come when they come, and of what somebody cared to look at. So this is the accuracy of the labelled answers, not
of all: of labels that were given to a random share it is both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from cascade.errors import BadInput
from cascade.inference.shares import Estimated, RunningShare
from cascade.messages import Answer, ClassScores, Detections, Estimate

Label: TypeAlias = str | int | float | Sequence[float]

REMEMBERS = 500.0
"""Labels after which one counts e times less."""
MOST_PLACES = 256
"""Tasks and tiers that are kept apart."""
NOBODY = "none"


def is_right(answer: Answer, label: Label) -> bool:
    """Whether an answer says what the label says. An answer without a prediction is never right.

    Classes and anomalies by their word (`"yes"`, `"anomaly"`), classes without words by their number, estimates by
    their values: right within two standard deviations, as predictions agree. `BadInput` for what can't be compared.
    """
    prediction = answer.prediction
    if prediction is None:
        return False
    if isinstance(prediction, Estimate):
        return _is_near(prediction, label)
    if isinstance(prediction, Detections):
        raise BadInput("a label can't be compared with things found in an image")
    if answer.label:
        if not isinstance(label, str):
            raise BadInput(f"found the label {label!r}, expected a word, as {answer.label!r}")
        return label == answer.label
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(prediction, ClassScores) or not isinstance(label, int | str) or not str(label).isdigit():
        raise BadInput(f"found the label {label!r}, expected the number of a class")
    return int(label) == prediction.best


def _is_near(estimate: Estimate, label: Label) -> bool:
    values = [label] if isinstance(label, int | float) else label
    if isinstance(values, str) or len(values) != len(estimate.values):
        raise BadInput(f"found the label {label!r}, expected {len(estimate.values)} numbers")
    try:
        true = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise BadInput(f"found the label {label!r}, expected {len(estimate.values)} numbers") from None
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
