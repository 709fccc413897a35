"""Predictions of one stream, averaged over the last looks: one odd window is no word.

Scores are averaged class by class, so that what is judged is a prediction again, by the same gate.
"""

from __future__ import annotations

from collections import deque

from cascade.messages import AnomalyScore, ClassScores, Prediction

SMOOTHED = ("classes", "anomaly")
"""Kinds of prediction that have an average."""


class Smoothing:
    """The mean of the last so many; nothing before there are as many, or when one of them can't be averaged."""

    def __init__(self, looks: int) -> None:
        self._last: deque[Prediction] = deque(maxlen=looks)

    def take(self, prediction: Prediction) -> Prediction | None:
        self._last.append(prediction)
        if len(self._last) < (self._last.maxlen or 1):
            return None
        return prediction if len(self._last) == 1 else _mean(list(self._last))

    def forget(self) -> None:
        self._last.clear()


def _mean(predictions: list[Prediction]) -> Prediction:
    """What isn't alike is given as it is, the newest: its gate says that it can't be read, or judges it alone."""
    newest = predictions[-1]
    if isinstance(newest, ClassScores):
        rows = [each.scores for each in predictions if isinstance(each, ClassScores)]
        if len(rows) == len(predictions) and len({len(row) for row in rows}) == 1:
            return ClassScores(tuple(sum(column) / len(rows) for column in zip(*rows, strict=True)))
    if isinstance(newest, AnomalyScore):
        scores = [each.score for each in predictions if isinstance(each, AnomalyScore)]
        if len(scores) == len(predictions):
            return AnomalyScore(sum(scores) / len(scores), newest.limit)
    return newest
