"""A calibration applied to one sample, in plain Python: of ten scores numpy's calls cost more than the arithmetic.

The same as `calibration.py`, which says why; the two agree to the last few bits (a test holds them together).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import exp, log, tanh

from cascade.release.calibrated import Calibration

Row = list[float]

MOST_SCORES = 48
"""With more of them numpy is faster again."""
LEAST = 1e-6
"""Of a calibrated confidence: a best class with nothing would be no best class."""
BEHIND = 1.0 - 1e-9
"""The others stay so far behind the best, whatever rounding does."""
NOTHING = 1e-100
"""What cannot be divided by without overflowing says nothing about how the rest is shared."""


def bender(calibration: Calibration) -> Callable[[Row], Row]:
    """What bends the readable scores of one sample."""
    if calibration.method in ("temperature", "vector"):
        return _by_softmax(calibration)
    confidence = _isotonic(calibration) if calibration.method == "isotonic" else _by_odds(calibration)
    return lambda scores: _with_best(scores, best := scores.index(max(scores)), confidence(scores, best))


def _by_softmax(calibration: Calibration) -> Callable[[Row], Row]:
    scale, shift, floor = calibration.scale, calibration.shift, calibration.floor

    def temperature(scores: Row) -> Row:
        only = scale[0]
        return _softmax([only * log(score if score > floor else floor) for score in scores])

    def vector(scores: Row) -> Row:
        terms = zip(scores, scale, shift, strict=True)
        return _softmax([by * log(score if score > floor else floor) + plus for score, by, plus in terms])

    return temperature if calibration.method == "temperature" else vector


def _softmax(logits: Row) -> Row:
    top = max(logits)
    powers = [exp(logit - top) for logit in logits]
    total = sum(powers)
    return [power / total for power in powers]


def _by_odds(calibration: Calibration) -> Callable[[Row, int], float]:
    scale, shift, floor = calibration.scale, calibration.shift, calibration.floor
    one_for_all = calibration.method == "platt"

    def confidence(scores: Row, best: int) -> float:
        top = scores[best]
        odds = log(max(top, floor) / max(sum(scores) - top, floor))
        place = 0 if one_for_all else best
        return 0.5 * (1.0 + tanh(0.5 * (scale[place] * odds + shift[place])))

    return confidence


def _isotonic(calibration: Calibration) -> Callable[[Row, int], float]:
    knots, values = calibration.knots, calibration.values

    def confidence(scores: Row, best: int) -> float:
        top = scores[best]
        place = bisect_right(knots, top)
        if place == 0:
            return values[0]
        if place == len(knots):
            return values[-1]
        slope = (values[place] - values[place - 1]) / (knots[place] - knots[place - 1])
        return values[place - 1] + slope * (top - knots[place - 1])

    return confidence


def _with_best(scores: Row, best: int, confidence: float) -> Row:
    confidence = max(min(confidence, 1.0), LEAST)
    others = list(scores)
    others[best] = 0.0
    total = sum(others)
    if total < NOTHING:
        others = [1.0] * len(others)
        others[best] = 0.0
        total = float(len(others) - 1)
    share = min((1.0 - confidence) / total, BEHIND * confidence / max(others))
    others = [share * each for each in others]
    others[best] = confidence
    return others
