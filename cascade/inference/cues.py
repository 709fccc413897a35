"""Cues: cheap numbers of an input that tell a learned gate what the model's scores can't.

A dark image, a quiet second, a sensor at its stop: the model below is as sure as ever, and wrong. Taken from the first
input of the model, after its preprocessing, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


# Ufuncs rather than `mean` and `std`, which give the same numbers: for one sample those cost more around than within.


def _mean(rows: Array) -> Array:
    return np.asarray(np.add.reduce(rows, axis=1) / rows.shape[1])


def _deviation(rows: Array) -> Array:
    apart = rows - _mean(rows)[:, None]
    apart *= apart
    return np.asarray(np.sqrt(_mean(apart)))


def _largest(rows: Array) -> Array:
    return np.asarray(np.maximum.reduce(np.abs(rows), axis=1))


def _roughness(rows: Array) -> Array:
    """How much neighbours differ: noise is rough, a blurred image is not."""
    if rows.shape[1] < 2:
        return np.zeros(len(rows), rows.dtype)
    steps = rows[:, 1:] - rows[:, :-1]
    return _mean(np.abs(steps, out=steps))


CUES: dict[str, Callable[[Array], Array]] = {
    "mean": _mean,
    "deviation": _deviation,
    "largest": _largest,
    "roughness": _roughness,
}
"""By the names that manifests use. A new one is a line here and a word in `StageSpec.cues`."""


def cues_of(batch: Array, names: Sequence[str]) -> list[tuple[float, ...]]:
    """One tuple per sample."""
    rows = batch.reshape(len(batch), -1).astype(np.float32, copy=False)
    return list(zip(*[CUES[name](rows).tolist() for name in names], strict=True))
