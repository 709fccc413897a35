"""The order in which thresholds are tried: known beforehand where that can be, learned where it pays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade.inference.scoring import weighed
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.guarantee import LEARN_SHARE, LEARNED_FROM, guarantee
from cloud_service.calibrating.path import fixed_path, is_fixed
from cloud_service.calibrating.targets import read_target

HALF_A_POINT = read_target("at most 0.5 points worse than the cloud")[0]
ALWAYS = GateSpec("always")


@pytest.fixture
def three(problems):
    """A ladder of three tiers, with the gates that are given for the first two."""

    def stages(*gates, samples=50, same_tier=False):
        taken = problems.drawn(problems.PROBLEMS[3], samples, 0)
        records = list(taken.stages)
        if same_tier:
            records[1] = replace(records[1], tier="edge")
        return [weighed(*pair) for pair in zip(records, (*gates, ALWAYS), strict=True)]

    return stages


def test_an_answer_that_saves_two_links_may_have_twice_the_doubt_of_one_that_saves_one(three):
    steps = fixed_path(three(GateSpec("confidence", 0.9), GateSpec("confidence", 0.9))).steps
    for edge, fog, top in steps:
        assert top is None
        assert 1.0 - edge == pytest.approx(2.0 * (1.0 - fog), abs=1e-12)
    assert (steps[0][0], steps[-1][0]) == (1.0, 0.0)


def test_where_small_numbers_are_sure_the_doubt_is_the_number(three):
    steps = fixed_path(three(GateSpec("entropy", 0.5), GateSpec("entropy", 0.5))).steps
    assert all(edge == pytest.approx(2.0 * fog) for edge, fog, _ in steps)


def test_a_gate_without_a_threshold_to_choose_is_left_as_it_is(three):
    steps = fixed_path(three(GateSpec("never"), GateSpec("confidence", 0.9))).steps
    assert {edge for edge, _, _ in steps} == {None}
    assert (steps[0][1], steps[-1][1]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("gates", "same_tier", "known"),
    [
        (("confidence", "confidence"), False, True),
        (("confidence", "confidence"), True, False),
        (("confidence", "margin"), False, False),
        (("never", "never"), False, False),
    ],
)
def test_an_order_is_known_where_doubts_are_of_one_kind_and_answers_save_links(three, gates, same_tier, known):
    stages = three(*(GateSpec(name, None if name == "never" else 0.9) for name in gates), same_tier=same_tier)
    assert is_fixed(stages) is known


def test_an_order_is_learned_only_where_there_is_enough_to_learn_on(problems):
    problem = problems.PROBLEMS[3]
    gates = problems.gates_of(problem)
    few, many = 2000, round(LEARNED_FROM / LEARN_SHARE) + 10
    assert guarantee(problems.drawn(problem, few, 0), gates, [HALF_A_POINT], 0.9).samples == few
    tested = guarantee(problems.drawn(problem, many, 0), gates, [HALF_A_POINT], 0.9).samples
    assert tested == many - round(LEARN_SHARE * many)
