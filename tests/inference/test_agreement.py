"""Agreement by audits: weights, intervals, coverage, forgetting, bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.inference.agreement import MOST_TASKS, Agreement, Agreements
from cascade.inference.effects import RecordAudit
from cascade.inference.shares import RunningShare, wilson


def audit(agreed: bool | None, probability: float = 0.02, verdict: str = "answer", task: str = "word") -> RecordAudit:
    return RecordAudit(task, verdict, probability, agreed)


def test_nothing_is_said_where_nothing_was_audited():
    assert Agreement().said() is None
    assert Agreements().said() == {}


def test_an_audit_stands_for_as_many_questions_as_its_probability_says():
    """Half of the questions are audited with a chance of 1 in 2 and agree, half with 1 in 10 and don't."""
    agreement = Agreement(remembers=1e9)
    for _ in range(5):
        agreement.note(audit(True, probability=0.5))
    agreement.note(audit(False, probability=0.1))
    assert agreement.said().agreement.share == pytest.approx(0.5)


def test_an_audit_of_an_impossible_probability_counts_for_nothing():
    agreement = Agreement()
    for probability in (0.0, -1.0, 1.5, float("nan")):
        agreement.note(audit(True, probability=probability))
    assert agreement.said() is None


def test_censored_audits_lower_the_coverage_and_not_the_agreement():
    agreement = Agreement(remembers=1e9)
    for index in range(100):
        agreement.note(audit(True if index % 4 else None))
    said = agreement.said()
    assert (said.agreement.share, said.audits, said.compared) == (1.0, 100, 75)
    assert said.coverage == pytest.approx(0.75)
    assert said.at_worst == pytest.approx(0.75 * said.agreement.low)
    assert said.at_best == 1.0


def test_where_all_are_censored_there_is_a_coverage_of_nothing_and_no_agreement():
    agreement = Agreement()
    agreement.note(audit(None))
    said = agreement.said()
    assert (said.agreement, said.coverage, said.at_worst) == (None, 0.0, None)


def test_drops_and_answers_are_told_apart():
    agreement = Agreement()
    for _ in range(20):
        agreement.note(audit(True))
        agreement.note(audit(False, verdict="drop"))
    by_verdict = agreement.said().by_verdict
    assert (by_verdict["answer"].share, by_verdict["drop"].share) == (1.0, 0.0)


def test_what_was_long_ago_is_forgotten():
    agreement = Agreement(remembers=100.0)
    for agreed in [True] * 5000 + [False] * 500:
        agreement.note(audit(agreed))
    assert agreement.said().agreement.high < 0.05


def test_forgetting_bounds_how_much_it_claims_to_know():
    share = RunningShare(remembers=100.0)
    for _ in range(10_000):
        share.add(True)
    assert share.estimated().cases == pytest.approx(200.0, rel=0.02)


@pytest.mark.parametrize("agreement", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("cases", [60, 2000])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(agreement, cases):
    chance, runs = random.Random(7), 300
    held = 0
    for _ in range(runs):
        share = RunningShare(remembers=250.0)
        for _ in range(cases):
            share.add(chance.random() < agreement, weight=50.0)
        found = share.estimated()
        held += found.low <= agreement <= found.high
    assert held / runs > 0.91


def test_the_interval_holds_when_weights_differ():
    """Chance is changed on the way, and so is what each audit stands for."""
    chance, held, runs = random.Random(3), 0, 300
    for run in range(runs):
        agreement = Agreement()
        for question in range(4000):
            probability = 0.02 if (question // 500 + run) % 2 else 0.1
            if chance.random() < probability:
                agreement.note(audit(chance.random() < 0.9, probability))
        found = agreement.said().agreement
        held += found.low <= 0.9 <= found.high
    assert held / runs > 0.91


@given(st.floats(0, 1), st.floats(0.5, 1e6))
def test_an_interval_is_never_empty_and_never_outside_of_nought_to_one(share, cases):
    low, high = wilson(share, cases)
    assert 0.0 <= low <= share <= high <= 1.0
    assert low < high


def test_tasks_of_strangers_cannot_fill_the_memory():
    agreements = Agreements()
    for number in range(10 * MOST_TASKS):
        agreements.note(audit(True, task=f"task {number}"))
    assert len(agreements.said()) == MOST_TASKS
