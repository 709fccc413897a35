"""Calibrations fitted: they mend what is wrong with confidences, and refuse what can teach them nothing."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from cascade.inference.calibration import calibrator, softmax
from cascade.inference.recordings import Recordings, StageRecord
from cascade.release.calibrated import METHODS, calibration_mistakes
from cloud_service.calibrating.fitting import CannotCalibrate, fit
from cloud_service.calibrating.reliability import reliability, reliability_svg

CLASSES = 5
NAMES = tuple("abcde")


def overconfident(samples, sharpness=3.0, seed=0):
    """A stage whose log scores are so many times too large: its true chances are known."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal((samples, CLASSES))
    chances = softmax(logits)
    label = (chances.cumsum(axis=1) > rng.random((samples, 1))).argmax(axis=1)
    return recorded(softmax(sharpness * logits), label)


def recorded(scores, label, names=NAMES):
    count = len(label)
    stage = StageRecord(
        tier="edge", name="s", kind="classes", labels=NAMES[: scores.shape[1]], model="m", stage_digest="0" * 64,
        columns={"scores": scores}, ran=np.ones(count, bool), ms=np.ones(count), joules=np.ones(count),
    )  # fmt: skip
    return Recordings(
        task="t", stages=(stage,), label_names=names, label=label, input_bytes=np.ones(count, int), max_input_bytes=1
    )


@pytest.mark.parametrize("method", METHODS)
def test_an_overconfident_stage_is_brought_to_reason(method):
    taken = overconfident(4000)
    fitted = fit(taken, taken.stages[0], method)
    assert fitted.before.error > 0.15
    assert fitted.after.error < 0.03
    assert fitted.before.low <= fitted.before.error <= fitted.before.high
    assert not calibration_mistakes(fitted.calibration, CLASSES)
    fresh = overconfident(4000, seed=1)
    bent = calibrator(fitted.calibration)(fresh.stages[0].columns["scores"])
    assert reliability(bent.max(axis=1), (bent.argmax(axis=1) == fresh.label).astype(float)).error < 0.04


def test_a_temperature_is_found_again():
    taken = overconfident(20_000)
    assert fit(taken, taken.stages[0], "temperature").calibration.scale[0] == pytest.approx(1 / 3, rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_calibrated_already_is_hardly_bent(method):
    taken = overconfident(4000, sharpness=1.0)
    fitted = fit(taken, taken.stages[0], method)
    assert fitted.after.error < fitted.before.error + 0.015


@pytest.mark.parametrize("method", METHODS)
def test_scores_of_exactly_0_and_1_can_be_calibrated(method):
    """As an int8 softmax gives them: steps of 1/256, and all or nothing where it is sure."""
    taken = overconfident(3000)
    scores = taken.stages[0].columns["scores"]
    stepped = np.floor(scores * 256) / 256
    sure = scores.max(axis=1) > 0.99
    stepped[sure] = np.eye(CLASSES)[scores[sure].argmax(axis=1)]
    stage = replace(taken.stages[0], columns={"scores": stepped})
    fitted = fit(taken, stage, method)
    assert fitted.calibration.floor == pytest.approx(1 / 512)
    assert fitted.after.error < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_a_stage_that_is_never_wrong_is_calibrated_without_a_fault(method):
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, 500)
    fitted = fit(taken := recorded(np.eye(CLASSES)[label], label), taken.stages[0], method)
    bent = calibrator(fitted.calibration)(np.eye(CLASSES))
    assert np.isfinite(bent).all()
    assert bent.max(axis=1).min() > 0.9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: overconfident(99), "99 labelled samples; at least 100"),
        (lambda: recorded(np.full((200, 5), 0.2), np.zeros(200, int)), "all samples are of one class, a"),
        (lambda: recorded(np.full((200, 5), 0.2), np.arange(200) % 4), "no sample of e"),
        (lambda: recorded(np.full((200, 5), np.nan), np.arange(200) % 5), "0 labelled samples"),
        (lambda: recorded(np.full((200, 1), 0.2), np.zeros(200, int)), "two or more labels"),
        (lambda: recorded(np.full((200, 5), 0.2), np.full(200, -1)), "0 labelled samples"),
        (lambda: recorded(np.zeros((200, 5)), np.arange(200) % 5), "all its scores are 0"),
    ],
)
def test_what_can_teach_nothing_is_refused_with_the_reason(make, said):
    taken = make()
    with pytest.raises(CannotCalibrate, match=said):
        fit(taken, taken.stages[0], "platt")


def test_an_unknown_method_names_those_that_there_are():
    taken = overconfident(200)
    with pytest.raises(CannotCalibrate, match="no method 'magic'; there are isotonic, per_class"):
        fit(taken, taken.stages[0], "magic")


def test_unreadable_samples_are_left_out():
    taken = overconfident(3000)
    scores = taken.stages[0].columns["scores"].copy()
    scores[::3] = np.nan
    fitted = fit(taken, replace(taken.stages[0], columns={"scores": scores}), "temperature")
    assert fitted.calibration.samples == 2000


def test_a_reliability_is_drawn():
    taken = overconfident(1000)
    fitted = fit(taken, taken.stages[0], "temperature")
    drawn = ElementTree.fromstring(reliability_svg("edge/<s>", fitted.before, fitted.after))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 30


@pytest.mark.slow
def test_an_interval_holds_the_true_error_as_often_as_it_says():
    """Confidence 0.9 throughout, right 8 times in 10: the error is 0.1."""
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(100):
        confidence = 0.9 + 1e-6 * rng.random(600)
        found = reliability(confidence, (rng.random(600) < 0.8).astype(float), seed)
        inside += found.low <= 0.1 <= found.high
    assert inside >= 88
