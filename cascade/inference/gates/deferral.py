"""`deferral`: sure when asking above would hardly help, as learned from where it did.

Confidence asks "am I right?"; what matters is "would the hop above do better?". The two differ where labels are noise
(nobody does better), where the model above is a specialist (it does better on some classes only), and under shift
(sure and wrong, which the input's cues may show). The measure is the gain expected of asking: the chance that the one
above is right where this one is wrong, less the chance of the contrary. Between -1 and 1; small means sure.
"""

from __future__ import annotations

from itertools import chain
from math import exp, log

from cascade.errors import BundleRejected
from cascade.messages import ClassScores, Prediction
from cascade.release.ladder import Deferral, LadderStage

_LEAST = 1e-6
"""Of a score, before its logarithm: a difference between chances of one in a million and less tells a gate nothing."""
_FURTHEST = 700.0
"""Log odds further out are of no sample that was ever learned from; and `exp` has an end there."""


def numbers_of(prediction: ClassScores) -> list[float]:
    """What is looked at: 1, confidence, log odds, margin, entropy; the log scores; which class is best; the cues."""
    scores = prediction.scores
    best = prediction.best
    top = scores[best]
    second = max(chain(scores[:best], scores[best + 1 :]), default=0.0)
    logs = [log(max(score, _LEAST)) for score in scores]
    entropy = -sum(score * each for score, each in zip(scores, logs, strict=True))
    is_best = [0.0] * len(scores)
    is_best[best] = 1.0
    odds = logs[best] - log(max(1.0 - top, _LEAST))
    return [1.0, top, odds, top - second, entropy, *logs, *is_best, *prediction.cues]


def count_of_numbers(classes: int, cues: int) -> int:
    return 5 + 2 * classes + cues


class DeferralGate:
    """In the table it has learned nothing yet; `learned` makes the measure of a stage."""

    reads: tuple[type[Prediction], ...] = (ClassScores,)
    needs_threshold = True
    sure_of_all = False
    sure_below = True

    def __init__(self, weights: Deferral | None = None) -> None:
        self._weights = weights

    def learned(self, stage: LadderStage) -> DeferralGate:
        """`BundleRejected` where the release doesn't say what was learned, or for other scores than the stage's."""
        weights = stage.gate.deferral
        if weights is None:
            raise BundleRejected(f"stage {stage.name}: a deferral gate needs what it has learned (`deferral`)")
        wanted = count_of_numbers(len(stage.labels), weights.cues)
        if {len(weights.gain), len(weights.loss)} != {wanted}:
            found = f"{len(weights.gain)} and {len(weights.loss)}"
            raise BundleRejected(f"stage {stage.name}: a deferral gate of {found} weights, where {wanted} are expected")
        return DeferralGate(weights)

    def of(self, prediction: Prediction) -> float:
        """NaN, which is never sure, where the cues that were learned from are missing or are no numbers, and so far
        from all that was learned from that both chances would be 0 or 1, and their difference a false nothing."""
        weights = self._weights
        if weights is None or not isinstance(prediction, ClassScores) or len(prediction.cues) != weights.cues:
            return float("nan")
        numbers = numbers_of(prediction)
        return _chance(weights.gain, numbers) - _chance(weights.loss, numbers)


def _chance(weights: tuple[float, ...], numbers: list[float]) -> float:
    """NaN where a number is not finite: a sum with a NaN or an infinity in it is none that lies between two bounds."""
    total = sum(weight * number for weight, number in zip(weights, numbers, strict=True))
    return 1.0 / (1.0 + exp(-total)) if -_FURTHEST < total < _FURTHEST else float("nan")
