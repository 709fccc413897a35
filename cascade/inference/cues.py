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


def _mean(rows: Array) -> Array:
    return np.asarray(rows.mean(axis=1))


def _deviation(rows: Array) -> Array:
    return np.asarray(rows.std(axis=1))


def _largest(rows: Array) -> Array:
    return np.asarray(np.abs(rows).max(axis=1))


def _roughness(rows: Array) -> Array:
    """How much neighbours differ: noise is rough, a blurred image is not."""
    return np.abs(np.diff(rows, axis=1)).mean(axis=1) if rows.shape[1] > 1 else np.zeros(len(rows), rows.dtype)


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
    return [tuple(row) for row in np.stack([CUES[name](rows) for name in names], axis=1).astype(float).tolist()]
