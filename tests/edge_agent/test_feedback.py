"""Labels that come later: compared with the last answer, once, by the tier that gave it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cascade.errors import BadInput
from cascade.inference.accuracy import is_right
from cascade.messages import AnomalyScore, Answer, ClassScores, Detections, Estimate, Outcome, Question
from cascade.metrics import FEEDBACK
from cascade.release.ladder import GateSpec, Ladder, LadderStage
from edge_agent.feedback import Feedback, words_of_tasks
from edge_agent.kept_answers import KeptAnswers


class Told:
    def __init__(self, most: int = 10) -> None:
        self.counted: list[tuple[str, ...]] = []
        self.kept = KeptAnswers(most)
        self.feedback = Feedback(self.kept, self._count, {"digits": {"yes", "no"}})

    def _count(self, row, labels) -> None:
        assert row is FEEDBACK
        self.counted.append(labels)


@pytest.fixture
def give(question: Callable[..., Question], answer: Callable[..., Answer]) -> Callable[..., Answer]:
    usual = {"prediction": ClassScores((0.1, 0.9)), "label": "yes", "tier": "edge"}
    return lambda number, **more: answer(question(number), **{**usual, **more})


def test_a_label_is_compared_with_the_last_answer_that_was_given(give):
    told = Told()
    told.kept.keep(give(1, label="no", provisional=True))
    told.kept.keep(give(1, label="yes", tier="fog", correction=True))
    assert told.feedback.note("q1", "yes") is True
    assert [row[1:] for row in told.counted] == [("fog", "yes")]


def test_only_the_first_label_of_a_question_counts(give):
    told = Told()
    told.kept.keep(give(1))
    assert [told.feedback.note("q1", label) for label in ("no", "yes")] == [False, False]
    assert len(told.counted) == 1


def test_a_question_that_is_not_kept_is_counted_as_unknown():
    told = Told()
    assert told.feedback.note("q7", "yes") is None
    assert told.counted == [("none", "none", "unknown")]


def test_a_label_that_cant_be_compared_is_not_counted_and_another_may_come(give):
    told = Told()
    told.kept.keep(give(1))
    with pytest.raises(BadInput, match="expected a word, as 'yes'"):
        told.feedback.note("q1", 3.5)
    assert told.feedback.note("q1", "yes") is True
    assert len(told.counted) == 1


def test_a_word_that_no_model_of_the_device_can_say_makes_none_of_its_answers_wrong(give):
    told = Told()
    told.kept.keep(give(1))
    with pytest.raises(BadInput, match="found the label 'banana', expected one of no, yes"):
        told.feedback.note("q1", "banana")
    assert told.counted == []
    assert told.feedback.note("q1", "no") is False


def test_a_model_above_may_know_words_that_the_device_does_not(give):
    told = Told()
    told.kept.keep(give(1, tier="cloud", label="maybe"))
    told.kept.keep(give(2, tier="cloud", label="yes"))
    assert [told.feedback.note(each, "perhaps") for each in ("q1", "q2")] == [False, False]


def test_words_of_a_task_are_those_of_all_its_stages():
    gate = GateSpec("always")
    stages = [LadderStage(name=each, kind="classes", gate=gate, labels=("nothing", each)) for each in ("one", "two")]
    assert words_of_tasks([Ladder(task="t", release="r", stages=tuple(stages))]) == {"t": {"nothing", "one", "two"}}


def test_accuracy_has_an_interval_and_is_told_by_tier(give):
    told = Told(1000)
    for number in range(100):
        told.kept.keep(give(number, tier="edge" if number % 2 else "cloud"))
        told.feedback.note(f"q{number}", "yes" if number % 4 else "no")
    task = give(0).task
    said = told.feedback.accuracies.said(task)
    assert (said["edge"].share, said["cloud"].share) == (1.0, pytest.approx(0.5, abs=0.03))
    assert said["cloud"].low < 0.5 < said["cloud"].high
    assert told.feedback.accuracies.said("another") == {}


def test_what_is_remembered_of_judged_questions_is_bounded(give):
    told = Told(5)
    for number in range(50):
        told.kept.keep(give(number))
        told.feedback.note(f"q{number}", "yes")
    assert len(told.feedback._judged) == 5


@pytest.mark.parametrize(
    ("prediction", "word", "label", "right"),
    [
        (ClassScores((0.1, 0.9)), "", 1, True),
        (ClassScores((0.1, 0.9)), "", "0", False),
        (ClassScores((0.1, 0.9)), "", 1.0, True),
        (AnomalyScore(0.9), "anomaly", "anomaly", True),
        (AnomalyScore(0.9), "anomaly", "normal", False),
        (Estimate((2.0,), (0.5,)), "", 2.9, True),
        (Estimate((2.0,), (0.5,)), "", 3.1, False),
        (Estimate((2.0, 1.0), (0.5, 0.5)), "", [2.0, 1.5], True),
        (None, "", "yes", False),
    ],
)
def test_every_kind_of_answer_has_its_kind_of_label(give, prediction, word, label, right):
    outcome = Outcome.ANSWERED if prediction is not None else Outcome.EXPIRED
    assert is_right(give(1, prediction=prediction, label=word, outcome=outcome), label) is right


@pytest.mark.parametrize(
    ("prediction", "word", "label"),
    [
        (ClassScores((0.1, 0.9)), "", "yes"),
        (Estimate((2.0,), (0.5,)), "", "two"),
        (Estimate((2.0,), (0.5,)), "", [1.0, 2.0]),
        (Estimate((2.0,), (0.5,)), "", [None]),
        (Estimate((2.0,), (0.5,)), "", None),
        (Estimate((2.0,), (0.5,)), "", float("nan")),
        (Estimate((2.0, 1.0), (0.5, 0.5)), "", [2.0, float("inf")]),
        (ClassScores((0.1, 0.9)), "", 7),
        (ClassScores((0.1, 0.9)), "", 2),
        (ClassScores((0.1, 0.9)), "", -1),
        (ClassScores((0.1, 0.9)), "", "9" * 5000),
        (ClassScores((0.1, 0.9)), "", "²"),
        (ClassScores((0.1, 0.9)), "", float("nan")),
        (ClassScores((0.1, 0.9)), "", True),
        (AnomalyScore(0.9), "anomaly", "banana"),
        (AnomalyScore(0.9), "anomaly", ""),
        (Detections((), 0.9), "", "cat"),
    ],
)
def test_a_label_of_another_kind_is_the_callers_mistake(give, prediction, word, label):
    with pytest.raises(BadInput):
        is_right(give(1, prediction=prediction, label=word), label)
