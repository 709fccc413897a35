"""A learned gate, where confidence alone fails: it asks where asking helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cascade.inference.recordings import Recordings, StageRecord
from cascade.inference.scoring import climb, weighed
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.deferring import deferral_gate, fit_deferral
from cloud_service.calibrating.fitting import CannotCalibrate

CLASSES = 4
ALWAYS = GateSpec("always")


def stage(says, confidence, tier, cues=None):
    count = len(says)
    scores = np.repeat(((1 - confidence) / (CLASSES - 1))[:, None], CLASSES, axis=1)
    scores[np.arange(count), says] = confidence
    return StageRecord(
        tier=tier, name=tier, kind="classes", labels=tuple("abcd"), model=tier, stage_digest="0" * 64,
        columns={"scores": scores}, cues=cues, ran=np.ones(count, bool), ms=np.ones(count), joules=np.ones(count),
    )  # fmt: skip


def recorded(label, below, above):
    count = len(label)
    return Recordings(
        task="t",
        stages=(below, above),
        label_names=tuple("abcd"),
        label=label,
        input_bytes=np.full(count, 10),
        max_input_bytes=10,
    )


def saying(rng, label, chance):
    """Right as often as `chance`, and otherwise another class."""
    right = rng.random(len(label)) < chance
    return np.where(right, label, (label + rng.integers(1, CLASSES, len(label))) % CLASSES)


def specialist(rng, count):
    """Above, somebody knows only classes a and b better. Below, c and d are what it is least sure of."""
    label = rng.integers(0, CLASSES, count)
    chance = np.where(label < 2, 0.8, 0.55) + 0.1 * rng.standard_normal(count).clip(-1, 1)
    below = stage(saying(rng, label, chance), chance.clip(0.3, 0.99), "edge")
    above = stage(saying(rng, label, np.where(label < 2, 0.99, 0.5)), np.full(count, 0.9), "cloud")
    return recorded(label, below, above)


def label_noise(rng, count):
    """Half of what is hard is hard for everybody; the entropy of the two kinds differs a little by class."""
    label = rng.integers(0, CLASSES, count)
    noisy = label == 3
    chance = np.where(noisy, 0.4, rng.choice([0.97, 0.6], count))
    below = stage(saying(rng, label, chance), chance + 0.01 * rng.random(count), "edge")
    above = stage(saying(rng, label, np.where(noisy, 0.4, 0.98)), np.full(count, 0.9), "cloud")
    return recorded(label, below, above)


def shift(rng, count):
    """In the dark the model below is as sure as ever, and wrong. A cue of the input tells."""
    label = rng.integers(0, CLASSES, count)
    dark = rng.random(count) < 0.3
    below = saying(rng, label, np.where(dark, 0.5, 0.97))
    cues = np.stack([np.where(dark, 0.1, 0.6) + 0.05 * rng.standard_normal(count)], axis=1)
    sure = rng.uniform(0.7, 0.99, count)
    return recorded(
        label, stage(below, sure, "edge", cues), stage(saying(rng, label, np.full(count, 0.97)), sure, "cloud")
    )


def accuracy_when_asking(recordings, gate, share):
    """Of the ladder, when this share is asked above."""
    stages = [weighed(recordings.stages[0], gate), weighed(recordings.stages[1], ALWAYS)]
    below = stages[0].gate.measure.sure_below
    at = float(np.quantile(stages[0].values, 1 - share if below else share))
    return climb(recordings, stages, [at, None]).right.mean()


@pytest.mark.slow
@pytest.mark.parametrize("problem", [specialist, label_noise, shift])
def test_where_confidence_fails_the_learned_gate_asks_about_what_the_hop_above_does_better(problem):
    learn, fresh = problem(np.random.default_rng(1), 4000), problem(np.random.default_rng(2), 8000)
    learned = deferral_gate(fit_deferral(learn, *learn.stages), GateSpec("confidence", 0.9))
    by_confidence = accuracy_when_asking(fresh, GateSpec("confidence", 0.9), 0.3)
    assert accuracy_when_asking(fresh, learned, 0.3) > by_confidence + 0.02


def test_where_confidence_is_right_the_learned_gate_is_no_worse():
    def plain(rng, count):
        label = rng.integers(0, CLASSES, count)
        chance = rng.uniform(0.4, 1.0, count)
        above = stage(saying(rng, label, np.full(count, 0.97)), np.full(count, 0.97), "cloud")
        return recorded(label, stage(saying(rng, label, chance), chance.clip(0.3, 0.999), "edge"), above)

    learn, fresh = plain(np.random.default_rng(1), 4000), plain(np.random.default_rng(2), 8000)
    learned = deferral_gate(fit_deferral(learn, *learn.stages), GateSpec("confidence", 0.9))
    by_confidence = accuracy_when_asking(fresh, GateSpec("confidence", 0.9), 0.3)
    assert accuracy_when_asking(fresh, learned, 0.3) > by_confidence - 0.005


@pytest.mark.slow
def test_a_prediction_without_the_cues_that_were_learned_from_is_never_sure():
    learn = shift(np.random.default_rng(1), 2000)
    gate = deferral_gate(fit_deferral(learn, *learn.stages), GateSpec("confidence", 0.9))
    blind = replace(learn.stages[0], cues=None)
    assert not weighed(blind, gate).sure(1.0).any()
    assert weighed(learn.stages[0], gate).sure(1.0).all()


def test_nothing_is_learned_of_too_little():
    few = specialist(np.random.default_rng(1), 50)
    with pytest.raises(CannotCalibrate, match="50 labelled samples"):
        fit_deferral(few, *few.stages)
    same = specialist(np.random.default_rng(1), 500)
    with pytest.raises(CannotCalibrate, match="on 0 of them edge does better"):
        fit_deferral(same, same.stages[0], same.stages[0])
