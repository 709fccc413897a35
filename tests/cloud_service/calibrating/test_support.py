"""What recordings can't support: tops without words, one class alone, samples that say the same again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cascade.inference.recordings import Recordings, StageRecord
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.adopting import assumed
from cloud_service.calibrating.guarantee import ASSUMES, CannotPromise, guarantee
from cloud_service.calibrating.targets import Circumstances, read_target
from cloud_service.calibrating.working_out import Plan

SAMPLES = 1000
WORSE, WRONG, DISAGREEMENT = (
    read_target(text)[0]
    for text in ("at most 3 points worse than the cloud", "at most 5 % wrong", "at most 5 % disagreement")
)


def stage(tier, kind, columns, labels=()):
    return StageRecord(
        tier=tier, name=tier, kind=kind, labels=labels, model=tier, stage_digest="0" * 64, columns=columns,
        ran=np.ones(SAMPLES, bool), ms=np.ones(SAMPLES), joules=np.ones(SAMPLES),
    )  # fmt: skip


def recorded(below, above, names=(), label=None, **more):
    return Recordings(
        task="t", stages=(below, above), label_names=names, input_bytes=np.full(SAMPLES, 10), max_input_bytes=10,
        label=np.full(SAMPLES, -1) if label is None else label, **more,
    )  # fmt: skip


def estimates(tier, rng):
    values = np.arange(SAMPLES)[:, None] + 0.1 * rng.standard_normal((SAMPLES, 1))
    return stage(tier, "estimate", {"values": values, "spreads": 0.2 + 0.1 * rng.random((SAMPLES, 1))})


def detections(tier, rng):
    box = np.tile([0.1, 0.1, 0.5, 0.5], (SAMPLES, 1))
    columns = {"nothing": rng.uniform(0.9, 1.0, SAMPLES), "count": np.ones(SAMPLES, int),
               "label": np.zeros(SAMPLES, int),
               "found": rng.uniform(0.9, 1.0, SAMPLES), "box": box}  # fmt: skip
    return stage(tier, "detections", columns, ("cat",))


def classes(tier, rng, labels=("a", "b"), label=None):
    """Nearly always right, and sometimes unsure."""
    says = rng.integers(0, 2, SAMPLES) if label is None else np.where(rng.random(SAMPLES) < 0.99, label, 1 - label)
    sure = 0.6 + 0.4 * rng.random(SAMPLES)
    scores = np.stack([np.where(says == 0, sure, 1 - sure), np.where(says == 1, sure, 1 - sure)], axis=1)
    return stage(tier, "classes", {"scores": scores}, labels)


def anomalies(tier, rng, label):
    score = np.clip(0.25 + 0.5 * label + 0.05 * rng.standard_normal(SAMPLES), 0.0, 1.0)
    return stage(tier, "anomaly", {"score": score, "limit": np.full(SAMPLES, 0.5)})


def promised(taken, target, gate=GateSpec("confidence", 0.9), **more):  # noqa: B008  # never changed
    return guarantee(taken, [gate, GateSpec("always")], [target], 0.9, **more)


WORDLESS = {
    "estimates": (estimates, GateSpec("spread", 1.0)),
    "detections": (detections, GateSpec("confidence", 0.5)),
    "classes without words": (lambda tier, rng: classes(tier, rng, ()), GateSpec("confidence", 0.9)),
}


@pytest.mark.parametrize("target", [WORSE, WRONG])
@pytest.mark.parametrize("what", WORDLESS)
def test_a_top_without_words_is_never_right_or_wrong_so_nothing_is_promised_of_that(what, target, rng):
    make, gate = WORDLESS[what]
    taken = recorded(make("edge", rng), make("cloud", rng), ("b0f1", "b0f2"), rng.integers(0, 2, SAMPLES))
    with pytest.raises(CannotPromise, match=f"{what} of the top .* only .disagreement with the cloud. can be promised"):
        promised(taken, target, gate)


@pytest.mark.parametrize("what", ["estimates", "detections"])
def test_of_a_top_without_words_agreement_is_promised(what, rng):
    make, gate = WORDLESS[what]
    found = promised(recorded(make("edge", rng), make("cloud", rng)), DISAGREEMENT, gate)
    assert (found.scored.answered_by == 0).any()


def test_a_stage_that_was_not_run_on_some_samples_supports_nothing(rng):
    label = rng.integers(0, 2, SAMPLES)
    words = ("normal", "anomaly")
    below, above = anomalies("edge", rng, label), anomalies("cloud", rng, label)
    some = replace(below, ran=np.arange(SAMPLES) >= 7)
    with pytest.raises(CannotPromise, match="edge/edge was not run on 7 of the samples"):
        promised(recorded(some, above, words, label), WORSE)


def test_anomalies_are_judged_by_their_words(rng):
    label = rng.integers(0, 2, SAMPLES)
    taken = recorded(anomalies("edge", rng, label), anomalies("cloud", rng, label), ("normal", "anomaly"), label)
    assert promised(taken, WORSE).seen[0].bound <= 0.03


@pytest.mark.parametrize(
    ("names", "share", "said"),
    [
        (("normal", "anomaly"), 0.0, "all samples are of one class, normal"),
        (("ok", "broken"), 0.5, "no sample of anomaly, normal.*samples of broken, ok, which the top"),
    ],
)
def test_anomalies_that_were_never_recorded_by_their_word_are_refused(names, share, said, rng):
    label = (rng.random(SAMPLES) < share).astype(int)
    taken = recorded(anomalies("edge", rng, label), anomalies("cloud", rng, label), names, label)
    with pytest.raises(CannotPromise, match=said):
        promised(taken, WORSE)


def digits(rng, **more):
    label = rng.integers(0, 2, SAMPLES)
    return recorded(classes("edge", rng, label=label), classes("cloud", rng, label=label), ("a", "b"), label, **more)


@pytest.mark.parametrize("target", [WORSE, read_target("at most 1 MB per minute")[0]])
def test_copies_of_samples_support_no_promise_unless_the_field_has_them_too(target, rng):
    taken = digits(rng, notes={"repeated": "0.060000"})
    rate = Circumstances(questions_per_minute=1.0)
    with pytest.raises(CannotPromise, match="6% of the samples are copies of others"):
        promised(taken, target, circumstances=rate)
    assert promised(taken, target, circumstances=rate, repeats=True).samples
    assert promised(digits(rng, notes={"repeated": "0.040000"}), target, circumstances=rate).samples


@pytest.mark.parametrize("labels", [("a", "b"), ()])
def test_a_top_that_says_one_word_of_all_samples_is_nobody_to_agree_with(labels, rng):
    label = rng.integers(0, 2, SAMPLES)
    below, above = (classes(tier, rng, labels, np.zeros(SAMPLES, int)) for tier in ("edge", "cloud"))
    above.columns["scores"].sort(axis=1)
    taken = recorded(below, above, ("a", "b"), label)
    with pytest.raises(CannotPromise, match=f"the top of the ladder says {'b' if labels else 1} of all samples"):
        promised(taken, DISAGREEMENT)
    if labels:
        with pytest.raises(CannotPromise, match="says b of all samples"):
            promised(taken, WORSE)


def test_a_promise_tells_what_was_said_of_the_field_and_nobody_can_check():
    assert assumed(Plan()) == ASSUMES
    said = assumed(Plan(without=("8", "9"), repeats=True)).removeprefix(ASSUMES)
    assert said == "; no sample of the field is of 8, 9; samples repeat in the field as often as they were recorded"
