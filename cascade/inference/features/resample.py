"""From one rate to another: each output row is a weighted sum of the input rows around its place in time.

Of `up` output rows for `down` input rows there are `up` different places between two input rows, each with weights of
its own. Summed tap by tap, as in `low_pass.py` and for the same reason.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.inference.features.low_pass import padded
from cascade.release.preprocessing import Resample

Array = npt.NDArray[Any]
FEW_PHASES = 16


def resample(batch: Array, feature: Resample) -> Array:
    up, down = feature.ratio
    numbers = batch.astype(np.float64)
    if feature.pad:
        count = numbers.shape[1] * up // down
        numbers = padded(numbers, feature.half - 1, feature.half + down)
    else:
        count = feature.after(batch.shape[1:])[0]
    weights, begins = _phases(feature)
    total = np.zeros((len(batch), count, *batch.shape[2:]))
    if up <= FEW_PHASES:
        for phase in range(up):
            _sum_phase(total[:, phase::up], numbers[:, begins[phase] :], weights[phase], down)
    else:
        _sum_all(total, numbers, weights, np.add.outer(np.arange(-(-count // up)) * down, begins).ravel()[:count])
    return total.astype(np.float32)


def _sum_phase(total: Array, numbers: Array, weights: Array, down: int) -> None:
    """The rows that lie at the same place between two input rows: their inputs are so many rows apart."""
    reach = (total.shape[1] - 1) * down + 1
    for tap, weight in enumerate(weights.tolist()):
        total += numbers[:, tap : tap + reach : down] * weight


def _sum_all(total: Array, numbers: Array, weights: Array, first: Array) -> None:
    """With many places, all of them at once: slower for each number, and fewer calls."""
    across = (-1, *[1] * (numbers.ndim - 2))
    for tap in range(weights.shape[1]):
        shares = np.resize(weights[:, tap], len(first)).reshape(across)
        total += np.take(numbers, first + tap, axis=1) * shares


@lru_cache(maxsize=16)
def _phases(feature: Resample) -> tuple[Array, Array]:
    """Per place between two input rows: its weights (of sum 1), and its first row within a group of `down`."""
    up, down = feature.ratio
    at = np.arange(up) * down
    begins, share = at // up, (at % up) / up
    tap = np.arange(2 * feature.half)
    distance = tap[None, :] - (feature.half - 1) - share[:, None]
    passed = min(1.0, up / down)
    taper = np.where(np.abs(distance) < feature.half, np.cos(0.5 * np.pi * distance / feature.half) ** 2, 0.0)
    weights = np.sinc(distance * passed) * taper
    return weights / weights.sum(axis=1, keepdims=True), begins
