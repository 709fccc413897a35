"""Thresholds with a guarantee: kept as often as promised, not timid, and refused where the data can't support them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from cascade.inference.scoring import climb, weighed
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.guarantee import CannotPromise, all_climb, guarantee, price, split
from cloud_service.calibrating.targets import Circumstances, Losses, Target, read_target

HALF_A_POINT = read_target("at most 0.5 points worse than the cloud")[0]


def truth(problem, problems, thresholds, target=HALF_A_POINT):
    """Risk, and share of bytes sent, on so many samples that there is no doubt."""
    taken = problems.drawn(problem, 200_000, 999)
    stages = [weighed(*pair) for pair in zip(taken.stages, problems.gates_of(problem), strict=True)]
    losses = Losses(all_climb(taken, stages), Circumstances())
    return [
        (losses.counted(target, scored).mean, float(scored.all_bytes.mean()))
        for scored in (climb(taken, stages, each) for each in thresholds)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 2, 3])
def test_a_promise_is_broken_no_more_often_than_it_says(which, problems):
    problem, runs = problems.PROBLEMS[which], 60
    gates = problems.gates_of(problem)
    found = [
        guarantee(problems.drawn(problem, 2000, seed), gates, [HALF_A_POINT], 0.9, seed=seed).thresholds
        for seed in range(runs)
    ]
    broken = sum(risk > HALF_A_POINT.bound for risk, _ in truth(problem, problems, found))
    assert binom.sf(broken - 1, runs, 0.1) > 0.005, f"{broken} of {runs}"


@pytest.mark.slow
def test_thresholds_that_only_look_good_on_the_recordings_are_caught_breaking_the_promise(problems):
    problem, runs = problems.PROBLEMS[0], 40
    grid = [(float(at), None) for at in 1.0 - 2.0 ** -np.arange(0.0, 12.0, 0.125)]
    found = []
    for seed in range(runs):
        taken = problems.drawn(problem, 2000, seed)
        stages = [weighed(*pair) for pair in zip(taken.stages, problems.gates_of(problem), strict=True)]
        losses = Losses(all_climb(taken, stages), Circumstances())
        risks = [losses.counted(HALF_A_POINT, climb(taken, stages, each)).mean for each in grid]
        found.append(next(each for each, risk in zip(grid, risks, strict=True) if risk <= HALF_A_POINT.bound))
    broken = sum(risk > HALF_A_POINT.bound for risk, _ in truth(problem, problems, found))
    assert binom.sf(broken - 1, runs, 0.1) < 0.005, f"only {broken} of {runs}"


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 3])
def test_thresholds_are_not_timid(which, problems):
    problem, runs = problems.PROBLEMS[which], 20
    gates = problems.gates_of(problem)
    found = [
        guarantee(problems.drawn(problem, 4000, seed), gates, [HALF_A_POINT], 0.9).thresholds for seed in range(runs)
    ]
    levels = 1.0 - 2.0 ** -np.arange(0.0, 12.0, 0.125 if len(gates) == 2 else 0.5)
    hindsight = [(*map(float, each), None) for each in product(levels, repeat=len(gates) - 1)]
    best = min(cost for risk, cost in truth(problem, problems, hindsight) if risk <= HALF_A_POINT.bound)
    assert np.mean([cost for _, cost in truth(problem, problems, found)]) <= 1.5 * best


def test_the_same_samples_give_the_same_thresholds(plain, problems):
    gates = problems.gates_of(problems.PROBLEMS[0])
    first, again = (guarantee(plain(2000), gates, [HALF_A_POINT], 0.9) for _ in range(2))
    assert first.thresholds == again.thresholds
    assert first.seen[0].bound <= HALF_A_POINT.bound


def test_several_targets_hold_together(plain, problems):
    gates = problems.gates_of(problems.PROBLEMS[0])
    targets = [read_target(text)[0] for text in ("at most 3 points worse than the cloud", "at most 3.5 kB per minute")]
    found = guarantee(plain(6000), gates, targets, 0.9, Circumstances(questions_per_minute=10))
    assert found.seen[0].bound <= 0.03
    assert found.seen[1].bound <= 3500
    assert found.samples < 6000, "where to begin is learned on samples of its own"


def test_a_budget_alone_buys_as_much_accuracy_as_it_can(plain, problems):
    gates = problems.gates_of(problems.PROBLEMS[0])
    rate = Circumstances(questions_per_minute=10)
    found = [
        guarantee(plain(4000), gates, [Target("bytes", bound)], 0.9, rate).scored for bound in (500.0, 2000.0, 1e6)
    ]
    accuracies = [scored.right.mean() for scored in found]
    assert accuracies == sorted(accuracies)
    assert found[0].device_bytes.mean() * 10 <= 500
    assert found[2].device_bytes.mean() == problems.BYTES


def test_gates_on_other_measures_get_thresholds_too(plain, problems):
    for name, at in (("margin", 0.5), ("entropy", 0.5)):
        gates = [GateSpec(name, at), GateSpec("always")]
        found = guarantee(plain(3000), gates, [HALF_A_POINT], 0.9)
        assert 0.2 < (found.scored.answered_by == 0).mean() < 0.9


def spoiled(taken, which):
    """A stage that says NaN, whatever it is asked."""
    stages = list(taken.stages)
    stages[which] = replace(stages[which], columns={"scores": np.full_like(stages[which].columns["scores"], np.nan)})
    return replace(taken, stages=tuple(stages))


@pytest.mark.parametrize("which", [0, 1])
def test_scores_of_exactly_0_and_1_are_a_ladder_like_any_other(which, plain, problems):
    taken = plain(1500)
    stages = list(taken.stages)
    said = stages[which].columns["scores"].argmax(axis=1)
    stages[which] = replace(stages[which], columns={"scores": np.eye(problems.CLASSES)[said]})
    certain = replace(taken, stages=tuple(stages))
    gates = problems.gates_of(problems.PROBLEMS[0])
    if which:
        assert guarantee(certain, gates, [HALF_A_POINT], 0.9).seen[0].bound <= HALF_A_POINT.bound
    else:
        with pytest.raises(CannotPromise, match="more samples would not help"):
            guarantee(certain, gates, [HALF_A_POINT], 0.9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda taken: replace(taken, label=np.zeros(len(taken.label), int)), "all samples are of one class, 0"),
        (lambda taken: replace(taken, label=np.minimum(taken.label, 7)), "no sample of 8, 9"),
        (lambda taken: replace(taken, label=np.full(len(taken.label), -1)), "no sample has a label"),
        (lambda taken: replace(taken, stages=taken.stages[:1]), "nobody above"),
        (lambda taken: spoiled(taken, 0), "nothing is answered below the top: what is said there can't be read"),
        (lambda taken: spoiled(taken, 1), "said nothing that can be read of 100% of the samples"),
        (
            lambda taken: replace(taken, label_names=(*taken.label_names[:9], "cat")),
            "no sample of 9.*samples of cat, which the top of the ladder can't say",
        ),
    ],
)
def test_recordings_that_say_nothing_of_the_field_are_refused(change, said, plain, problems):
    taken = change(plain(1000))
    gates = problems.gates_of(problems.PROBLEMS[0])[-len(taken.stages) :]
    with pytest.raises(CannotPromise, match=said):
        guarantee(taken, gates, [HALF_A_POINT], 0.9)


def test_labels_that_the_field_has_not_either_need_not_be_there(plain, problems):
    taken = plain(3000)
    few = taken.taken(np.flatnonzero(taken.label < 8))
    assert guarantee(few, problems.gates_of(problems.PROBLEMS[0]), [HALF_A_POINT], 0.9, without=("8", "9")).samples


def test_too_few_samples_are_refused_with_how_many_would_do(plain, problems):
    gates = problems.gates_of(problems.PROBLEMS[0])
    with pytest.raises(CannotPromise, match=r"100 samples can't support it; with about \d+ like these") as refused:
        guarantee(plain(100), gates, [HALF_A_POINT], 0.9)
    wanted = int(str(refused.value).split("about ")[1].split()[0])
    assert guarantee(plain(3 * wanted), gates, [HALF_A_POINT], 0.9).tried


def test_a_target_that_no_threshold_reaches_is_refused_without_asking_for_more_samples(plain, problems):
    with pytest.raises(CannotPromise, match=r"more samples would not help: .* % at best, where 0.1 % is allowed"):
        guarantee(plain(2000), problems.gates_of(problems.PROBLEMS[0]), [Target("wrong", 0.001)], 0.9)


def test_a_ladder_without_a_threshold_to_choose_is_refused(plain):
    with pytest.raises(CannotPromise, match="no gate below the top"):
        guarantee(plain(1000), [GateSpec("always"), GateSpec("always")], [HALF_A_POINT], 0.9)


def test_unreadable_predictions_climb_and_spoil_nothing(plain, problems):
    taken = plain(3000)
    scores = taken.stages[0].columns["scores"].copy()
    scores[::10] = np.nan
    holed = replace(taken, stages=(replace(taken.stages[0], columns={"scores": scores}), taken.stages[1]))
    found = guarantee(holed, problems.gates_of(problems.PROBLEMS[0]), [HALF_A_POINT], 0.9)
    assert (found.scored.answered_by[::10] == 1).all()


def test_one_sample_cant_be_split(plain):
    with pytest.raises(CannotPromise, match="too few"):
        split(plain(1), 0.3, 0)


def exits(problems, samples):
    """Three tiers, of which the first two are segments of one device: nothing is sent between them."""
    problem = problems.PROBLEMS[3]._replace(hard=(0.4, 0.6, 0.85), noise=(0.3, 0.3, 0.3))
    taken = problems.drawn(problem, samples, 0)
    segments = [replace(taken.stages[0], name="exit1"), replace(taken.stages[1], name="exit2", tier="edge")]
    return replace(taken, stages=(*segments, taken.stages[2])), problems.gates_of(problem)


def test_joules_of_the_device_count_a_quarter_of_what_bytes_do(problems):
    taken, gates = exits(problems, 100)
    stages = [weighed(*pair) for pair in zip(taken.stages, gates, strict=True)]
    paid = price(all_climb(taken, stages))
    everything, second, first = ([2.0, 2.0, None], [2.0, 0.0, None], [0.0, 0.0, None])
    prices = [paid(climb(taken, stages, each)) for each in (everything, second, first)]
    assert prices == pytest.approx([1.25, 0.25, 0.125])


def test_an_early_exit_is_used_for_the_joules_that_it_saves(problems):
    taken, gates = exits(problems, 6000)
    found = guarantee(taken, gates, [HALF_A_POINT], 0.9).scored
    assert (found.answered_by == 0).mean() > 0.25
    assert found.tier_shares()["edge"] > 0.5
