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

from cascade.inference.calibration_of_one import BEHIND, LEAST, MOST_SCORES, NOTHING, bender
from cascade.release.calibrated import Calibration

Array = npt.NDArray[Any]
Calibrator = Callable[[Array], Array]

_least, _most, _total = np.minimum.reduce, np.maximum.reduce, np.add.reduce
"""The methods of an array do the same, through a microsecond of Python each."""


def calibrator(calibration: Calibration) -> Calibrator:
    """What bends the scores of a batch, one sample per row. Parameters are unpacked here, once."""
    bend, bend_one = _BENDS[calibration.method](calibration), bender(calibration)

    def apply(scores: Array) -> Array:
        if len(scores) == 1 and scores.shape[1] <= MOST_SCORES:
            row = scores[0].tolist()
            if all(0.0 <= score <= 1.0 for score in row):
                return np.array([bend_one(row)])
        scores = scores.astype(np.float64)
        if scores.size and _least(scores, axis=None) >= 0.0 and _most(scores, axis=None) <= 1.0:
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
    return lambda scores: with_best(scores, np.interp(_most(scores, axis=1), knots, values))


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
    best = _most(scores, axis=1)
    others = _total(scores, axis=1) - best
    return np.asarray(np.log(np.maximum(best, floor) / np.maximum(others, floor)))


def logistic(numbers: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * numbers)))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - _most(logits, axis=1, keepdims=True))
    powers /= _total(powers, axis=1, keepdims=True)
    return np.asarray(powers)


def with_best(scores: Array, confidence: Array) -> Array:
    """The best class gets this confidence. The others share what is left as they did, each behind the best: where that
    leaves something over, the scores sum to less than 1."""
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    confidence = np.maximum(np.minimum(confidence, 1.0), LEAST)
    others = scores.copy()
    others[rows, best] = 0.0
    total = _total(others, axis=1)
    nothing = total < NOTHING
    if nothing.any():  # a quantised softmax: all on one class, and no word on the rest
        others[nothing] = 1.0
        others[rows, best] = 0.0
        total = _total(others, axis=1)
    others *= np.minimum((1.0 - confidence) / total, BEHIND * confidence / _most(others, axis=1))[:, None]
    others[rows, best] = confidence
    return others
