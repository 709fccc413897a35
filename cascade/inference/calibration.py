"""Applying a calibration: a stage's scores, bent so that a confidence of 0.9 is right nine times in ten.

Pure numpy, on a whole batch, after the activation and before predictions are made: some microseconds. What can't be
read (NaN, a score outside 0 to 1) comes out as NaN, never as a probability. `temperature`, `platt`, `per_class` and
`isotonic` leave the best class the best; `vector` may choose another, as it may shift one class against the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.calibrated import Calibration

Array = npt.NDArray[Any]
Calibrator = Callable[[Array], Array]

_LEAST = 1e-6
"""Of a calibrated confidence: a best class with nothing would be no best class."""
_NOTHING = 1e-100
"""What cannot be divided by without overflowing says nothing about how the rest is shared."""
_BEHIND = 1.0 - 1e-9
"""The others stay so far behind the best, whatever rounding does."""


def calibrator(calibration: Calibration) -> Calibrator:
    """What bends the scores of a batch, one sample per row. Parameters are unpacked here, once."""
    bend = _BENDS[calibration.method](calibration)

    def apply(scores: Array) -> Array:
        scores = scores.astype(np.float64)
        if scores.size and scores.min() >= 0.0 and scores.max() <= 1.0:
            return bend(scores)
        readable = ((scores >= 0.0) & (scores <= 1.0)).all(axis=1)
        bent = np.full_like(scores, np.nan)
        bent[readable] = bend(scores[readable])
        return bent

    return apply


def _temperature(calibration: Calibration) -> Calibrator:
    scale, floor = calibration.scale[0], calibration.floor
    return lambda scores: softmax(scale * log_scores(scores, floor))


def _vector(calibration: Calibration) -> Calibrator:
    scale, shift, floor = np.array(calibration.scale), np.array(calibration.shift), calibration.floor
    return lambda scores: softmax(scale * log_scores(scores, floor) + shift)


def _platt(calibration: Calibration) -> Calibrator:
    scale, shift, floor = calibration.scale[0], calibration.shift[0], calibration.floor
    return lambda scores: with_best(scores, logistic(scale * log_odds(scores, floor) + shift))


def _per_class(calibration: Calibration) -> Calibrator:
    scale, shift, floor = np.array(calibration.scale), np.array(calibration.shift), calibration.floor

    def bend(scores: Array) -> Array:
        best = scores.argmax(axis=1)
        return with_best(scores, logistic(scale[best] * log_odds(scores, floor) + shift[best]))

    return bend


def _isotonic(calibration: Calibration) -> Calibrator:
    knots, values = np.array(calibration.knots), np.array(calibration.values)
    return lambda scores: with_best(scores, np.interp(scores.max(axis=1), knots, values))


_BENDS: dict[str, Callable[[Calibration], Calibrator]] = {
    "temperature": _temperature,
    "vector": _vector,
    "platt": _platt,
    "per_class": _per_class,
    "isotonic": _isotonic,
}


def log_scores(scores: Array, floor: float) -> Array:
    return np.asarray(np.log(np.maximum(scores, floor)))


def log_odds(scores: Array, floor: float) -> Array:
    """Of the best class against all others together: 1 - best would be 0 where float32 rounds the best to 1."""
    best = scores.max(axis=1)
    others = scores.sum(axis=1) - best
    return np.asarray(np.log(np.maximum(best, floor)) - np.log(np.maximum(others, floor)))


def logistic(numbers: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * numbers)))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def with_best(scores: Array, confidence: Array) -> Array:
    """The best class gets this confidence. The others share what is left as they did, each behind the best: where that
    leaves something over, the scores sum to less than 1."""
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    confidence = np.clip(confidence, _LEAST, 1.0)
    others = scores.copy()
    others[rows, best] = 0.0
    total = others.sum(axis=1)
    nothing = total < _NOTHING
    if nothing.any():  # a quantised softmax: all on one class, and no word on the rest
        others[nothing] = 1.0
        others[rows, best] = 0.0
        total = others.sum(axis=1)
    others *= np.minimum((1.0 - confidence) / total, _BEHIND * confidence / others.max(axis=1))[:, None]
    others[rows, best] = confidence
    return others
