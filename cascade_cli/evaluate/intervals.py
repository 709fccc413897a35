"""Between which limits a figure lies, with 95 % confidence. Which method is for what:

- shares (right or wrong, who answered): Wilson's;
- quantiles of milliseconds: order statistics, which assume nothing of how they are spread; where there are too few
  samples for a limit on one side there is none, and it is None;
- means (bytes, joules) and differences of shares on the same samples: the percentiles of a bootstrap of 2,000 resamples
  by a seed. Ratios of means are resampled together, because who sends much in one system sends much in the other.

All take the samples as drawn independently from what the field will bring.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.inference.shares import wilson

Array = npt.NDArray[Any]

CONFIDENCE = 0.95
RESAMPLES = 2000
METHODS = {
    "shares": "Wilson",
    "quantiles": "order statistics",
    "means, differences and ratios": f"bootstrap, {RESAMPLES} resamples, percentiles",
}


class Figure(NamedTuple):
    """A number, and its limits. None: not known; a limit that the samples don't give."""

    value: float | None
    low: float | None = None
    high: float | None = None


UNKNOWN = Figure(None)


def share_of(hits: Array) -> Figure:
    """Of ones and zeros; NaN are left out."""
    known = hits[~np.isnan(hits)] if hits.dtype.kind == "f" else hits
    if not len(known):
        return UNKNOWN
    share = float(known.mean())
    return Figure(share, *wilson(share, len(known)))


def quantile_of(values: Array, share: float) -> Figure:
    if not len(values):
        return UNKNOWN
    ordered = np.sort(values)
    n = len(ordered)
    place = min(n - 1, math.ceil(share * n) - 1 if share * n > 1 else 0)
    low, high = _ranks(n, share)
    return Figure(
        float(ordered[place]),
        float(ordered[low]) if low is not None else None,
        float(ordered[high]) if high is not None else None,
    )


def _ranks(n: int, share: float) -> tuple[int | None, int | None]:
    """Which of n ordered values (from 0) hold the quantile between them. How many of n lie below it is binomial."""
    error = (1.0 - CONFIDENCE) / 2.0
    middle, spread = n * share, 10.0 * math.sqrt(n * share * (1.0 - share)) + 10.0
    first, last = max(0, math.floor(middle - spread)), min(n, math.ceil(middle + spread))
    counts = range(first, last + 1)
    chances = np.array([_binomial(n, count, share) for count in counts])
    at_most = np.cumsum(chances)
    low = first + int(np.searchsorted(at_most, error))
    high = first + int(np.searchsorted(at_most, 1.0 - error))
    return (low - 1 if low > 0 else None), (high if high < n else None)


def _binomial(n: int, count: int, share: float) -> float:
    logs = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(logs + count * math.log(share) + (n - count) * math.log1p(-share))


def mean_of(values: Array, seed: int = 0) -> Figure:
    known = values[~np.isnan(values)]
    if not len(known):
        return UNKNOWN
    return Figure(float(known.mean()), *_limits(_resampled(known[:, None], seed)[:, 0]))


def ratio_of(above: Array, below: Array, seed: int = 0) -> Figure:
    """Of two means over the same samples. None where there is nothing to divide by."""
    if not len(below) or not below.mean() or np.isnan(above).any() or np.isnan(below).any():
        return UNKNOWN
    means = _resampled(np.stack([above, below], axis=1), seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = means[:, 0] / means[:, 1]
    low, high = _limits(ratios)
    return Figure(float(above.mean() / below.mean()), low, high if math.isfinite(high) else None)


def _resampled(rows: Array, seed: int) -> Array:
    """Means of so many resamples. Equal rows are drawn as often as they are there at once: in data like ours a few
    hundred rows differ, however many there are."""
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    if len(distinct) > 4096:
        return np.stack([rows[rng.integers(0, len(rows), len(rows))].mean(axis=0) for _ in range(RESAMPLES)])
    times = rng.multinomial(len(rows), counts / len(rows), size=RESAMPLES)
    return np.asarray(times @ distinct / len(rows))


def _limits(found: Array) -> tuple[float, float]:
    error = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(found, [error, 1.0 - error], method="nearest")
    return float(low), float(high)
