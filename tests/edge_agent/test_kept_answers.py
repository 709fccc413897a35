"""The last answers that an agent keeps for those who ask why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cascade.errors import NotKept
from cascade.messages import Answer, Question
from edge_agent.kept_answers import KeptAnswers


@pytest.fixture
def give(question: Callable[..., Question], answer: Callable[..., Answer]) -> Callable[..., Answer]:
    return lambda number, **more: answer(question(number), **more)


def test_all_that_was_given_to_a_question_is_kept_in_its_order(give: Callable[..., Answer]) -> None:
    kept = KeptAnswers(10)
    for given in (give(1, provisional=True), give(2), give(1, correction=True)):
        kept.keep(given)
    assert [(one.provisional, one.correction) for one in kept.of("q1")] == [(True, False), (False, True)]
    assert "It is a correction" in str(kept.explain("q1"))


def test_the_oldest_make_way(give: Callable[..., Answer]) -> None:
    kept = KeptAnswers(2)
    for number in range(5):
        kept.keep(give(number))
    assert (len(kept), kept.of("q2")) == (2, [])
    with pytest.raises(NotKept, match=r"the last 2 of at most 2 are \(limits.answers_explained\)"):
        kept.explain("q2")


def test_the_last_questions_are_told_with_all_that_was_given_to_them(give: Callable[..., Answer]) -> None:
    kept = KeptAnswers(10)
    for given in (give(1, provisional=True), give(2), give(3), give(1)):
        kept.keep(given)
    assert [[one.id for one in given] for given in kept.last(2)] == [["q3"], ["q1", "q1"]]


def test_none_are_kept_where_none_are_wanted(give: Callable[..., Answer]) -> None:
    kept = KeptAnswers(0)
    kept.keep(give(1))
    assert (len(kept), kept.last(5)) == (0, [])
