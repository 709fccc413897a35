"""A low pass, and of its output one row in so many.

Summed tap by tap over whole arrays: no multiply-and-add in one, no order that depends on an array's length, so that a
row is the same to the last bit on every processor, and whether it was computed in a stream or in a whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import LowPass

Array = npt.NDArray[Any]


def low_pass(batch: Array, feature: LowPass) -> Array:
    taps, keep = feature.taps, feature.keep_every
    numbers = batch.astype(np.float64)
    if feature.pad:
        numbers = padded(numbers, taps // 2, taps // 2)
    count = (numbers.shape[1] - taps) // keep + 1
    weights = _weights(feature)

    def rows(first: int) -> Array:
        part: Array = numbers[:, first : first + (count - 1) * keep + 1 : keep]
        return part

    total = rows(taps // 2) * weights[taps // 2]
    for tap in range(taps // 2):  # it is symmetric: each weight stands for two rows
        total += (rows(tap) + rows(taps - 1 - tap)) * weights[tap]
    return total.astype(np.float32)


def padded(numbers: Array, before: int, after: int) -> Array:
    """With its first row so often before it, and its last after it."""
    return np.pad(numbers, ((0, 0), (before, after), *((0, 0) for _ in numbers.shape[2:])), mode="edge")


@lru_cache(maxsize=64)
def _weights(feature: LowPass) -> list[float]:
    """A sinc under a Hamming window, of sum 1."""
    at = np.arange(feature.taps) - feature.taps // 2
    shape = np.sinc(2.0 * feature.cutoff / feature.rate_hz * at) * np.hamming(feature.taps)
    weights: list[float] = (shape / shape.sum()).tolist()
    return weights
