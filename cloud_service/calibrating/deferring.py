"""Fitting a deferral gate: where would the top of the ladder have done better, seen from what a stage says itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from cascade.inference.gates.deferral import numbers_of
from cascade.inference.recordings import Recordings, StageRecord
from cascade.messages import ClassScores
from cascade.release.ladder import Deferral, GateSpec
from cloud_service.calibrating.fitting import LEAST_SAMPLES, CannotCalibrate

Array = npt.NDArray[Any]

LEAST_GAINS = 10
"""Samples on which the one above was right and this one wrong. Of fewer nothing can be learned."""
_FOLDS = 5
_PULLS = (1.0, 10.0, 100.0)
"""Strengths of the pull to zero that are tried: weights of many alike numbers are not left to themselves."""


def fit_deferral(recordings: Recordings, stage: StageRecord, above: StageRecord, seed: int = 0) -> Deferral:
    """`CannotCalibrate` where too little was recorded of where the two differ."""
    where = f"stage {stage.name} of {stage.tier}"
    if stage.kind != "classes" or len(stage.labels) < 2:
        raise CannotCalibrate(f"{where}: a deferral gate reads scores of two or more labels")
    mine, theirs = recordings.right(stage), recordings.right(above)
    predictions = [stage.prediction(index) for index in range(recordings.samples)]
    rows = np.array([one.readable() for one in predictions]) & ~np.isnan(mine) & ~np.isnan(theirs)
    gains, losses = (mine == 0) & (theirs == 1), (mine == 1) & (theirs == 0)
    if rows.sum() < LEAST_SAMPLES or gains[rows].sum() < LEAST_GAINS:
        raise CannotCalibrate(
            f"{where}: {rows.sum()} labelled samples, and on {gains[rows].sum()} of them {above.name} does better; "
            f"at least {LEAST_SAMPLES} and {LEAST_GAINS} are needed"
        )
    cues = stage.cues.shape[1] if stage.cues is not None else 0
    kept = [one for one, good in zip(predictions, rows, strict=True) if good and isinstance(one, ClassScores)]
    numbers = np.array([numbers_of(one) for one in kept])
    fine = np.isfinite(numbers).all(axis=1)
    return Deferral(
        gain=_logistic(numbers[fine], gains[rows][fine].astype(float), seed),
        loss=_logistic(numbers[fine], losses[rows][fine].astype(float), seed),
        cues=cues,
    )


def deferral_gate(learned: Deferral, like: GateSpec) -> GateSpec:
    """In place of another gate. The threshold is where asking costs nothing: thresholds are found afterwards."""
    return GateSpec("deferral", 0.0, like.drop, learned)


def _logistic(numbers: Array, happened: Array, seed: int) -> tuple[float, ...]:
    """With the pull that predicts best across folds; as weights of the numbers as they are."""
    centre, spread = numbers.mean(axis=0), numbers.std(axis=0)
    centre[0], still = 0.0, spread < 1e-9
    spread[still] = 1.0
    scaled = (numbers - centre) / spread
    scaled[:, still] = 0.0
    scaled[:, 0] = 1.0
    fold = np.random.default_rng(seed).permutation(len(happened)) % _FOLDS
    pull = min(_PULLS, key=lambda each: _surprise_across(scaled, happened, fold, each))
    weights = _fitted(scaled, happened, pull)
    weights[1:][still[1:]] = 0.0
    plain = weights / spread
    plain[0] = weights[0] - float((plain[1:] * centre[1:]).sum())
    return tuple(plain.tolist())


def _surprise_across(scaled: Array, happened: Array, fold: Array, pull: float) -> float:
    total = 0.0
    for number in range(_FOLDS):
        seen = fold != number
        score = scaled[~seen] @ _fitted(scaled[seen], happened[seen], pull)
        total -= float((happened[~seen] * log_expit(score) + (1.0 - happened[~seen]) * log_expit(-score)).sum())
    return total


def _fitted(scaled: Array, happened: Array, pull: float) -> Array:
    held = np.full(scaled.shape[1], pull)
    held[0] = 1e-3

    def surprise(weights: Array) -> tuple[float, Array]:
        score = scaled @ weights
        loss = -(happened * log_expit(score) + (1.0 - happened) * log_expit(-score)).sum()
        loss += 0.5 * (held * weights**2).sum()
        slope = scaled.T @ (expit(score) - happened) + held * weights
        return float(loss) / len(happened), slope / len(happened)

    start = np.zeros(scaled.shape[1])
    return np.asarray(minimize(surprise, start, jac=True, method="L-BFGS-B").x)
