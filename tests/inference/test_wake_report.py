"""Which wakes are false, which words are missed, and how sure that is."""

from __future__ import annotations

import math

import pytest

from cascade.inference.wake_report import Word, most_expected, most_likely_share, score_wakes

WORDS = [Word(1.0, 1.5), Word(10.0, 10.6)]


def test_a_wake_belongs_to_the_word_that_it_follows() -> None:
    report = score_wakes([1.7, 5.0, 10.5], WORDS, 0.5, within_s=0.5)
    assert (report.missed, report.false_accepts, report.repeats) == (0, 1, 0)
    assert report.delays_s == (pytest.approx(0.2), pytest.approx(-0.1))
    assert report.false_accepts_per_hour == 2.0


def test_a_wake_that_comes_too_late_is_false_and_its_word_missed() -> None:
    report = score_wakes([2.1], WORDS, 1.0, within_s=0.5)
    assert (report.missed, report.missed_share, report.false_accepts) == (2, 1.0, 1)


def test_a_word_that_wakes_twice_is_a_repeat() -> None:
    assert score_wakes([1.4, 1.9], WORDS, 1.0, within_s=0.5).repeats == 1


def test_of_two_words_in_quick_succession_each_has_its_wake() -> None:
    words = [Word(0.0, 0.5), Word(0.7, 1.2)]
    report = score_wakes([0.6, 1.1, 1.3], words, 1.0, within_s=1.0)
    assert (report.missed, report.repeats, report.false_accepts) == (0, 1, 0)


def test_nothing_heard_in_no_time_is_not_a_rate() -> None:
    report = score_wakes([], [], 0.0, 1.0)
    assert math.isnan(report.false_accepts_per_hour)
    assert math.isnan(report.most_missed_share)


@pytest.mark.parametrize("count", [0, 1, 7, 900])
def test_bounds_are_those_of_the_textbook(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert most_expected(count) == pytest.approx(stats.chi2.ppf(0.95, 2 * (count + 1)) / 2)
    assert most_likely_share(count, 2000) == pytest.approx(stats.beta.ppf(0.95, count + 1, 2000 - count))
    assert most_likely_share(5, 5) == 1.0
