"""Promises for ladders in which hidden features go up: compared with the top's own answer to the input, and kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from cascade.inference.recordings import Recordings, StageRecord
from cascade.inference.scoring import climb, weighed
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.guarantee import CannotPromise, all_climb
from cloud_service.calibrating.targets import Circumstances, Losses, Target
from cloud_service.calibrating.working_out import Plan, work_out

DIGESTS = {"exit": "1" * 64, "rest": "2" * 64, "whole": "3" * 64, "last": "4" * 64, "top": "5" * 64}
CONFIDENCE, ALWAYS = GateSpec("confidence", 0.9), GateSpec("always")
GATES = [CONFIDENCE, ALWAYS, ALWAYS]
THREE_POINTS = Target("worse", 0.03)


def stage(tier, name, scores, root="", sent=None):
    count = len(scores)
    return StageRecord(
        tier=tier, name=name, kind="classes", labels=("no", "yes"), model=name, stage_digest=DIGESTS[name],
        columns={"scores": scores}, ran=np.ones(count, bool), ms=np.ones(count), joules=np.ones(count),
        energy="estimated", root=root, sent_bytes=sent,
    )  # fmt: skip


def drawn(seed, samples, rest=0.95):
    """An exit that knows what is easy; above it, what goes on from it where half of the features are small enough, and
    a better model for the input. Both are right by chance, and the chance is what their scores say."""
    rng = np.random.default_rng(seed)
    label, ease, goes = rng.integers(0, 2, samples), rng.random(samples) - 0.5, rng.random(samples) < 0.5
    said = []
    for good, least in ((0.7, 0.5), (rest + 0.1, 0.5), (1.09, 0.5)):
        chance = np.clip(good + 0.25 * ease + 0.15 * rng.standard_normal(samples), least, 0.9999)
        yes = np.where((rng.random(samples) < chance) == (label == 1), chance, 1.0 - chance)
        said.append(np.stack([1.0 - yes, yes], axis=1))
    return Recordings(
        task="t",
        stages=(
            stage("edge", "exit", said[0], sent=np.where(goes, 40, 0)),
            stage("fog", "rest", said[1], root=DIGESTS["exit"]),
            stage("fog", "whole", said[2]),
        ),
        label_names=("no", "yes"),
        label=label,
        input_bytes=np.full(samples, 100),
        max_input_bytes=100,
    )


def taller(seed, samples):
    """With a cloud above, which has both as well, and is right of all."""
    low = drawn(seed, samples)
    sure = np.where(np.stack([low.label == 0, low.label == 1], axis=1), 0.99, 0.01)
    above = (stage("cloud", "last", sure, root=DIGESTS["exit"]), stage("cloud", "top", sure))
    return replace(low, stages=(*low.stages, *above))


def risk_and_bytes(taken, thresholds, gates=GATES):
    stages = [weighed(*pair) for pair in zip(taken.stages, gates, strict=True)]
    scored = climb(taken, stages, thresholds)
    losses = Losses(all_climb(taken, stages), Circumstances())
    return losses.counted(THREE_POINTS, scored).mean, scored.device_bytes.mean()


def test_where_everything_climbs_what_goes_on_from_features_is_not_taken_for_the_top():
    taken = drawn(0, 5000)
    rest, whole = (taken.right(each) for each in taken.stages[1:])
    sent = taken.stages[0].sent_bytes > 0
    risk, size = risk_and_bytes(taken, [np.nan] * 3)
    assert risk == pytest.approx((whole - rest)[sent].sum() / 5000)
    assert risk > 0.0
    assert size == pytest.approx(np.where(sent, 40, 100).mean())


def test_features_that_lose_more_than_is_promised_are_refused_whatever_the_thresholds():
    with pytest.raises(CannotPromise, match="no thresholds keep it on these recordings"):
        work_out(drawn(0, 3000, rest=0.7), {}, GATES, Plan(targets=(THREE_POINTS,)))


def test_a_threshold_at_the_end_of_a_way_is_left_as_it_is():
    gates = [CONFIDENCE, GateSpec("confidence", 0.77), ALWAYS]
    plain = work_out(drawn(0, 1500), {}, GATES, Plan(targets=(THREE_POINTS,)))
    found = work_out(drawn(0, 1500), {}, gates, Plan(targets=(THREE_POINTS,)))
    assert found.gates[1] == gates[1]
    assert found.guarantee.thresholds == plain.guarantee.thresholds


def test_in_a_tier_between_each_of_the_two_stages_has_a_threshold_of_its_own():
    gates = [CONFIDENCE, CONFIDENCE, CONFIDENCE, ALWAYS, ALWAYS]
    found = work_out(taller(0, 3000), {}, gates, Plan(targets=(THREE_POINTS,)))
    _, rest, whole, *top = (gate.threshold for gate in found.gates)
    assert 0.9 not in (rest, whole)
    assert rest != whole
    assert top == [None, None]
    assert set(found.guarantee.scored.answered_by) == {0, 1, 2, 3, 4}
    assert risk_and_bytes(taller(1, 50_000), found.guarantee.thresholds, gates)[0] < THREE_POINTS.bound


def test_a_learned_gate_is_learned_of_those_alone_who_have_somebody_above():
    gates = [CONFIDENCE, CONFIDENCE, ALWAYS]
    found = work_out(drawn(0, 3000), {}, gates, Plan(deferral=True))
    assert [gate.name for gate in found.gates] == ["deferral", "confidence", "always"]


@pytest.mark.slow
def test_a_promise_is_broken_no_more_often_than_it_says():
    runs, field = 30, drawn(10_000, 100_000)
    found = [
        work_out(drawn(seed, 1500), {}, GATES, Plan(targets=(THREE_POINTS,), seed=seed)).guarantee.thresholds
        for seed in range(runs)
    ]
    broken = sum(risk_and_bytes(field, each)[0] > THREE_POINTS.bound for each in found)
    assert binom.sf(broken - 1, runs, 0.1) > 0.005, f"{broken} of {runs}"
