"""Fitting calibrations on held-out predictions: what a stage's scores mean, learned from where it was right.

scikit-learn fits two of these (sigmoid, isotonic; temperature since 1.8) inside its own estimators; here the parameters
must come out, to be applied by numpy on a device, so they are fitted with scipy's optimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize, minimize_scalar
from scipy.special import log_expit, logsumexp

from cascade.errors import CascadeError
from cascade.inference.calibration import calibrator, log_odds, log_scores
from cascade.inference.recordings import Recordings, StageRecord, readable_scores, said_labels
from cascade.release.calibrated import Calibration
from cloud_service.calibrating.reliability import Reliability, reliability

Array = npt.NDArray[Any]

LEAST_SAMPLES = 100
"""Fewer labelled samples than this say nothing about a confidence."""
FOLDS = 5
_LEAST_FLOOR = 1e-30
_MOST_BINS = 200
_PULL = 5.0
"""As if so many samples more said that a class is like all others: a rare class is not left to its few."""
_SCALES = (1e-3, 1e3)


class CannotCalibrate(CascadeError):
    """What was recorded can't teach a calibration; says why."""


class Evidence(NamedTuple):
    """Readable, labelled samples of one stage."""

    scores: Array
    label: Array
    """As the stage numbers its labels."""
    right: Array
    floor: float

    def taken(self, rows: Array) -> Evidence:
        return Evidence(self.scores[rows], self.label[rows], self.right[rows], self.floor)


class Fitted(NamedTuple):
    """A calibration, and how far confidence and accuracy lie apart before and after, on samples it did not see."""

    calibration: Calibration
    before: Reliability
    after: Reliability


def fit(
    recordings: Recordings, stage: StageRecord, method: str, *, without: Sequence[str] = (), seed: int = 0
) -> Fitted:
    """Fitted on all samples; judged by fitting on four fifths and looking at the last, five times."""
    evidence = evidence_of(recordings, stage, without)
    fold = np.random.default_rng(seed).permutation(len(evidence.right)) % FOLDS
    bent = np.empty(evidence.scores.shape)
    for number in range(FOLDS):
        fitted = _fitted(evidence.taken(fold != number), stage, method)
        bent[fold == number] = calibrator(fitted)(evidence.scores[fold == number])
    before = reliability(evidence.scores.max(axis=1), evidence.right, seed)
    after = reliability(bent.max(axis=1), (bent.argmax(axis=1) == evidence.label).astype(float), seed)
    whole = _fitted(evidence, stage, method)
    calibration = msgspec.structs.replace(
        whole, samples=len(evidence.right), error_before=before.error, error_after=after.error
    )
    return Fitted(calibration, before, after)


def evidence_of(recordings: Recordings, stage: StageRecord, without: Sequence[str] = ()) -> Evidence:
    """`CannotCalibrate` for too few samples, a single class, or labels that were never seen."""
    where = f"stage {stage.name} of {stage.tier}"
    if stage.kind != "classes" or len(stage.labels) < 2:
        raise CannotCalibrate(f"{where}: only scores of two or more labels can be calibrated")
    if stage.calibrated:
        raise CannotCalibrate(f"{where}: its scores are calibrated already")
    label = _as_stage_numbers(recordings, stage)
    scores = stage.columns["scores"]
    rows = stage.ran & readable_scores(scores) & (label >= 0)
    if rows.sum() < LEAST_SAMPLES:
        raise CannotCalibrate(f"{where}: {rows.sum()} labelled samples; at least {LEAST_SAMPLES} are needed")
    seen = set(np.unique(label[rows]).tolist())
    if len(seen) == 1:
        raise CannotCalibrate(f"{where}: all samples are of one class, {stage.labels[seen.pop()]}")
    unseen = [word for index, word in enumerate(stage.labels) if index not in seen and word not in without]
    if unseen:
        raise CannotCalibrate(f"{where}: no sample of {', '.join(unseen)}: what its scores mean there is not known")
    if not (scores[rows] > 0.0).any():
        raise CannotCalibrate(f"{where}: all its scores are 0: there is nothing in them to calibrate")
    right = (said_labels(stage, recordings.label_names) == recordings.label).astype(float)
    return Evidence(scores[rows].astype(np.float64), label[rows], right[rows], _floor(scores[rows]))


def _as_stage_numbers(recordings: Recordings, stage: StageRecord) -> Array:
    places = {word: index for index, word in enumerate(stage.labels)}
    numbers = np.array([places.get(name, -1) for name in recordings.label_names] or [-1])
    return np.where(recordings.label >= 0, numbers[np.maximum(recordings.label, 0)], -1)


def _floor(scores: Array) -> float:
    """A score of 0 is one that a quantised output could not show: half of the smallest step that it could."""
    if scores.min() > 0.0:
        return _LEAST_FLOOR
    return float(max(_LEAST_FLOOR, min(0.5 * scores[scores > 0.0].min(), 0.5)))


def _fitted(evidence: Evidence, stage: StageRecord, method: str) -> Calibration:
    try:
        parameters = _METHODS[method](evidence)
    except KeyError:
        raise CannotCalibrate(f"no method {method!r}; there are {', '.join(sorted(_METHODS))}") from None
    numbers = {name: tuple(values.astype(float).tolist()) for name, values in parameters.items()}
    return Calibration(
        method=method,  # type: ignore[arg-type]  # one of the table's
        stage_digest=stage.stage_digest,
        floor=evidence.floor,
        scale=numbers.get("scale", ()),
        shift=numbers.get("shift", ()),
        knots=numbers.get("knots", ()),
        values=numbers.get("values", ()),
    )


Parameters = dict[str, Array]


def _temperature(evidence: Evidence) -> Parameters:
    logs = log_scores(evidence.scores, evidence.floor)
    rows = np.arange(len(logs))

    def surprise(log_scale: float) -> float:
        scaled = np.exp(log_scale) * logs
        return float((logsumexp(scaled, axis=1) - scaled[rows, evidence.label]).mean())

    found = minimize_scalar(surprise, bounds=np.log(_SCALES), method="bounded")
    return {"scale": np.array([np.exp(found.x)])}


def _vector(evidence: Evidence) -> Parameters:
    """From the best temperature on, and held to it as by a few samples more."""
    logs = log_scores(evidence.scores, evidence.floor)
    samples, classes = logs.shape
    start = np.concatenate([np.full(classes, _temperature(evidence)["scale"][0]), np.zeros(classes)])
    hot = np.eye(classes)[evidence.label]

    def surprise(both: Array) -> tuple[float, Array]:
        scaled = logs * both[:classes] + both[classes:]
        total = logsumexp(scaled, axis=1)
        wrong = np.exp(scaled - total[:, None]) - hot
        loss = float((total - (scaled * hot).sum(axis=1)).sum()) + 0.5 * _PULL * float(((both - start) ** 2).sum())
        slope = np.concatenate([(wrong * logs).sum(axis=0), wrong.sum(axis=0)]) + _PULL * (both - start)
        return loss / samples, slope / samples

    both = minimize(surprise, start, jac=True, method="L-BFGS-B").x
    return {"scale": both[:classes], "shift": both[classes:]}


def _platt(evidence: Evidence) -> Parameters:
    scale, shift = _sigmoid(log_odds(evidence.scores, evidence.floor), evidence.right)
    return {"scale": np.array([scale]), "shift": np.array([shift])}


def _sigmoid(odds: Array, right: Array, like: tuple[float, float] | None = None) -> tuple[float, float]:
    """Platt's targets are not quite 0 and 1, so that a stage without an error has an end to its certainty. `like` is
    what it is pulled to instead: of a few samples Platt's targets would say too little."""
    good, bad = right.sum(), (1.0 - right).sum()
    aim = np.where(right > 0.5, (good + 1.0) / (good + 2.0), 1.0 / (bad + 2.0)) if like is None else right

    def surprise(pair: Array) -> tuple[float, Array]:
        numbers = pair[0] * odds + pair[1]
        loss = -(aim * log_expit(numbers) + (1.0 - aim) * log_expit(-numbers)).sum()
        off = np.exp(log_expit(numbers)) - aim
        slope = np.array([(off * odds).sum(), off.sum()])
        if like is not None:
            apart = pair - np.array(like)
            loss, slope = loss + 0.5 * _PULL * (apart**2).sum(), slope + _PULL * apart
        return float(loss), slope

    start = np.array(like or (1.0, 0.0))
    found = minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=[_SCALES, (None, None)]).x
    return float(found[0]), float(found[1])


def _per_class(evidence: Evidence) -> Parameters:
    odds, best = log_odds(evidence.scores, evidence.floor), evidence.scores.argmax(axis=1)
    usual = _sigmoid(odds, evidence.right)
    pairs = [
        _sigmoid(odds[best == number], evidence.right[best == number], usual) if (best == number).any() else usual
        for number in range(evidence.scores.shape[1])
    ]
    return {"scale": np.array([pair[0] for pair in pairs]), "shift": np.array([pair[1] for pair in pairs])}


def _isotonic(evidence: Evidence) -> Parameters:
    """In bins of equally many samples, so that a manifest stays small; no stretch is taken to be quite 0 or 1."""
    confidence = evidence.scores.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, min(_MOST_BINS, max(2, len(order) // 10)))
    weight = np.array([len(each) for each in bins], float)
    middle = np.array([confidence[each].mean() for each in bins])
    right = np.array([evidence.right[each].sum() for each in bins])
    knots, first = np.unique(middle, return_inverse=True)
    samples = np.bincount(first, weight)
    rising = isotonic_regression(np.bincount(first, right) / samples, weights=samples)
    level = np.repeat(np.arange(len(rising.blocks) - 1), np.diff(rising.blocks))
    size = np.bincount(level, samples)[level]
    values = np.maximum.accumulate((rising.x * size + 0.5) / (size + 1.0))
    if len(knots) == 1:
        knots, values = np.array([0.0, 1.0]), np.array([values[0], values[0]])
    return {"knots": np.clip(knots, 0.0, 1.0), "values": np.clip(values, 0.0, 1.0)}


_METHODS: dict[str, Callable[[Evidence], Parameters]] = {
    "temperature": _temperature,
    "vector": _vector,
    "platt": _platt,
    "per_class": _per_class,
    "isotonic": _isotonic,
}
