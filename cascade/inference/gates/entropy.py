"""`entropy`: sure when the scores are concentrated: 0 is one class alone, 1 is all alike."""

from __future__ import annotations

from math import log

from cascade.messages import ClassScores, Prediction


class Entropy:
    reads: tuple[type[Prediction], ...] = (ClassScores,)
    needs_threshold = True
    sure_below = True

    def of(self, prediction: Prediction) -> float:
        if not isinstance(prediction, ClassScores):
            return float("nan")
        scores = prediction.scores
        if len(scores) == 1:
            scores = (scores[0], 1.0 - scores[0])
        total = sum(scores)
        if total <= 0.0:
            return float("nan")
        shares = [score / total for score in scores if score > 0.0]
        return -sum(share * log(share) for share in shares) / log(len(scores))
