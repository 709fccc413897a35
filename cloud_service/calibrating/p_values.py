"""P-values for "the mean is above the bound": valid for any number of samples, not only for many.

Each returns a number that is at most `p` with probability at most `p` whenever the mean is at or above the bound,
for samples drawn independently from one distribution. Three kinds of numbers, three tests:

- yes or no: the exact binomial test;
- better, equal or worse (a paired difference in -1, 0, 1): the exact test of worse minus better in its own standard
  deviations, at the least favourable share of samples that differ, which is bounded first (Berger and Boos, JASA 1994).
  Two models mostly agree, so this share is a few per cent and the test knows it: Hoeffding's bound would not;
- anything bounded: betting against the bound (Waudby-Smith and Ramdas, JRSS B 2024), which learns the variance.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, gammaln, xlog1py, xlogy
from scipy.stats import binom

Array = npt.NDArray[Any]

_SHARE_OF_ERROR = 0.05
"""Of the error that may be made, so much is spent on bounding how often samples differ."""
_GRID = 16
"""Shares between which the least favourable one is looked for: the tail hardly bends over so short a stretch."""
_AS_IF_SEEN = 1.0
"""Differing samples that are added to those seen, so that none at all is no division by zero."""
_TAILS = 9.0
"""Standard deviations beyond which a count is as good as impossible (1e-18)."""


def binomial_p(found: int, samples: int, bound: float) -> float:
    """That so few or fewer are found where the share is `bound`."""
    if bound >= 1.0:
        return 1.0
    return float(binom.cdf(found, samples, max(bound, 0.0)))


def share_at_most(found: int, samples: int, error: float) -> float:
    """Upper end of the exact (Clopper-Pearson) interval of a share: it is above it with probability `error` at most."""
    if found >= samples:
        return 1.0
    return float(betaincinv(found + 1.0, float(samples - found), 1.0 - error))


def paired_p(worse: int, better: int, samples: int, bound: float, error: float) -> float:
    """That worse minus better comes out so small where its mean is `bound`. `error` is what will be compared with."""
    spent = _SHARE_OF_ERROR * error
    least = 1.0 - share_at_most(samples - worse - better, samples, spent / 2.0)
    most = share_at_most(worse + better, samples, spent / 2.0)
    if bound >= 1.0:
        return 1.0
    if bound > most:
        return spent
    differing = np.linspace(max(bound, least, 1e-12), most, _GRID)
    score = (worse - better - samples * bound) / math.sqrt(worse + better + _AS_IF_SEEN)
    return min(1.0, float(_score_tail(score, samples, differing, bound).max()) + spent)


def _score_tail(score: float, samples: int, differing: Array, bound: float) -> Array:
    """Probability of a score this small or smaller, for each share of samples that differ, at mean `bound`.

    The score is the difference in its own standard deviations. Any statistic gives a valid test; ordered by this one
    the tail is nearly the same whatever the share, so that little is lost by taking the least favourable.
    """
    spread = np.sqrt(samples * differing * (1.0 - differing)).max()
    low = max(0, math.floor(samples * differing.min() - _TAILS * spread - _TAILS**2))
    high = min(samples, math.ceil(samples * differing.max() + _TAILS * spread + _TAILS**2))
    counts = np.arange(low, high + 1)
    chances = _binomial(counts, samples, differing[:, None])
    difference = samples * bound + score * np.sqrt(counts + _AS_IF_SEEN)
    worse_at_most = np.floor((difference + counts) / 2.0 + 1e-9)
    given = binom.cdf(worse_at_most, counts, np.clip(0.5 * (1.0 + bound / differing[:, None]), 0.0, 1.0))
    return np.asarray((chances * np.nan_to_num(given)).sum(axis=1))


def _binomial(counts: Array, samples: int, share: Array) -> Array:
    """The binomial's probabilities, from logarithms: scipy's own is many times slower on so many."""
    ways = gammaln(samples + 1.0) - gammaln(counts + 1.0) - gammaln(samples - counts + 1.0)
    return np.asarray(np.exp(ways + xlogy(counts, share) + xlog1py(samples - counts, -share)))


def betting_p(values: Array, bound: float, low: float, high: float, error: float) -> float:
    """That the mean of numbers between `low` and `high` comes out so small where it is `bound`. The order of the
    values is that of the bets: it must not have been chosen by looking at them."""
    if bound > high:
        return 0.0
    if not low < bound < high:
        return 1.0
    gains = (high - np.asarray(values, float)) / (high - low)
    centre = (high - bound) / (high - low)
    stakes = np.minimum(_stakes(gains, error), 0.75 / centre)
    capital = np.cumsum(np.log1p(stakes * (gains - centre)))
    return float(min(1.0, math.exp(-max(0.0, capital.max(initial=0.0)))))


def _stakes(gains: Array, error: float) -> Array:
    """What to bet on each value, from those before it: more where they vary little."""
    count = np.arange(1, len(gains) + 1)
    mean = (0.5 + np.cumsum(gains)) / (count + 1.0)
    variance = (0.25 + np.cumsum((gains - mean) ** 2)) / (count + 1.0)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.asarray(np.sqrt(2.0 * math.log(1.0 / error) / (len(gains) * before)))
