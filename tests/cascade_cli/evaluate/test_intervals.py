"""The limits hold what they promise, on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from cascade_cli.evaluate.intervals import Figure, mean_of, quantile_of, ratio_of, share_of

RUNS = 400


def held(truth: float, figures: list[Figure]) -> float:
    return float(np.mean([figure.low <= truth <= figure.high for figure in figures]))


def test_a_share_lies_within_its_limits():
    rng = np.random.default_rng(1)
    assert held(0.95, [share_of((rng.random(200) < 0.95).astype(float)) for _ in range(RUNS)]) > 0.92


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_quantile_lies_within_its_limits_however_values_are_spread(share):
    rng = np.random.default_rng(2)
    truth = float(-np.log(1.0 - share))
    found = held(truth, [quantile_of(rng.exponential(size=200), share) for _ in range(RUNS)])
    assert 0.93 < found <= 1.0


def test_too_few_samples_give_a_high_quantile_no_upper_limit():
    found = quantile_of(np.arange(100.0), 0.99)
    assert found.value == 98.0
    assert found.low is not None
    assert found.high is None


def test_a_mean_lies_within_its_limits_where_most_are_zero():
    rng = np.random.default_rng(3)
    figures = [mean_of(np.where(rng.random(400) < 0.2, 700.0, 0.0)) for _ in range(RUNS // 2)]
    assert held(140.0, figures) > 0.9


def test_many_distinct_values_are_resampled_one_by_one():
    values = np.random.default_rng(4).normal(5.0, 1.0, 5000)
    found = mean_of(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(5000), rel=0.1)


def test_a_ratio_is_that_of_the_means():
    rng = np.random.default_rng(5)
    below = np.where(rng.random(1000) < 0.25, 100.0, 0.0)
    found = ratio_of(np.full(1000, 100.0), below)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(100.0 / below.mean())
    assert ratio_of(np.ones(5), np.zeros(5)) == Figure(None)


def test_of_nothing_nothing_is_known():
    assert share_of(np.array([np.nan])) == quantile_of(np.zeros(0), 0.5) == mean_of(np.zeros(0)) == Figure(None)
