"""P-values: small by chance no more often than they say, and small when they should be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from cloud_service.calibrating.p_values import betting_p, binomial_p, paired_p, share_at_most

ERROR = 0.1


def too_often(broken, runs):
    """Whether so many of so many runs refute an error of one in ten, at one in a thousand."""
    return binom.sf(broken - 1, runs, ERROR) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "bound", "differing"),
    [(200, 0.02, 0.02), (200, 0.02, 0.2), (500, 0.01, 0.05), (1000, 0.005, 0.3), (3000, 0.005, 0.03), (400, 0.0, 0.1)],
)
def test_a_paired_test_errs_no_more_often_than_allowed(samples, bound, differing, rng):
    worse = 0.5 * (differing + bound)
    draws = rng.multinomial(samples, [worse, differing - worse, 1 - differing], 3000)
    pairs, place = np.unique(draws[:, :2], axis=0, return_inverse=True)
    p = np.array([paired_p(int(one), int(other), samples, bound, ERROR) for one, other in pairs])[place]
    assert not too_often(int((p <= ERROR).sum()), len(p))


def test_a_paired_test_is_nearly_as_sharp_as_the_normal_one(rng):
    """At twice the standard error away from the bound, where the normal test refutes three times in four."""
    samples, differing = 3000, 0.03
    bound = 2.0 * np.sqrt(differing / samples)
    draws = rng.multinomial(samples, [differing / 2, differing / 2, 1 - differing], 400)
    p = [paired_p(int(worse), int(better), samples, bound, ERROR) for worse, better, _ in draws]
    assert np.mean(np.array(p) <= ERROR) > 0.68


def test_the_fewer_are_worse_the_smaller_the_p_value():
    p = [paired_p(worse, 10, 2000, 0.01, ERROR) for worse in range(0, 60, 5)]
    assert p == sorted(p)


def test_that_nothing_differs_is_evidence_only_of_enough_samples():
    assert paired_p(0, 0, 100, 0.005, ERROR) > ERROR
    assert paired_p(0, 0, 2000, 0.005, ERROR) <= ERROR


def test_a_binomial_test_is_the_exact_one():
    assert binomial_p(0, 22, 0.1) == pytest.approx(0.9**22)
    assert binomial_p(5, 5, 1.0) == 1.0


@pytest.mark.parametrize("found", [0, 3, 50, 100])
def test_an_upper_limit_of_a_share_is_the_clopper_pearson_one(found):
    limit = share_at_most(found, 100, 0.05)
    assert limit == 1.0 if found == 100 else binom.cdf(found, 100, limit) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("bound", [0.1, 0.5])
def test_a_bet_errs_no_more_often_than_allowed(bound, rng):
    p = [betting_p(rng.random(300) ** ((1 - bound) / bound), bound, 0.0, 1.0, ERROR) for _ in range(800)]
    assert not too_often(sum(each <= ERROR for each in p), len(p))


def test_a_bet_wins_when_the_mean_is_well_below_the_bound(rng):
    values = 500.0 * (rng.random(2000) < 0.2)
    assert betting_p(values, 130.0, 0.0, 2000.0, ERROR) <= ERROR
    assert betting_p(values, 90.0, 0.0, 2000.0, ERROR) > ERROR


def test_a_bound_that_nothing_can_exceed_needs_no_evidence():
    assert betting_p(np.ones(3), 2.0, 0.0, 1.0, ERROR) == 0.0
    assert betting_p(np.ones(3), 0.0, 0.0, 1.0, ERROR) == 1.0
    assert paired_p(0, 0, 3, 1.0, ERROR) == 1.0


def test_of_paired_differences_the_exact_test_refutes_more_often_than_a_bet(rng):
    samples, differing, bound = 2000, 0.03, 0.005
    exact, bets = 0, 0
    for worse, better, _ in rng.multinomial(samples, [differing / 2, differing / 2, 1 - differing], 200):
        exact += paired_p(int(worse), int(better), samples, bound, ERROR) <= ERROR
        values = rng.permutation(np.r_[np.ones(worse), -np.ones(better), np.zeros(samples - worse - better)])
        bets += betting_p(values, bound, -1.0, 1.0, ERROR) <= ERROR
    assert exact > bets
