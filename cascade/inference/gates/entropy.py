"""`entropy`: sure when the scores are concentrated: 0 is one class alone, 1 is all alike.

Scores need not sum to 1 (some models judge each class by itself), but of next to nothing no share can be told.
"""

from __future__ import annotations

from math import log

from cascade.messages import ClassScores, Prediction

_LEAST_TOTAL = 0.5
"""Scores that sum to less say "none of these", however they compare with each other."""


class Entropy:
    reads: tuple[type[Prediction], ...] = (ClassScores,)
    needs_threshold = True
    sure_of_all = False
    sure_below = True

    def of(self, prediction: Prediction) -> float:
        """NaN, which is never sure, where the scores say that it is no class at all."""
        if not isinstance(prediction, ClassScores):
            return float("nan")
        scores = prediction.scores
        if len(scores) == 1:
            scores = (scores[0], 1.0 - scores[0])
        total = sum(scores)
        if total < _LEAST_TOTAL:
            return float("nan")
        shares = [score / total for score in scores if score > 0.0]
        return -sum(share * log(share) for share in shares) / log(len(scores))
