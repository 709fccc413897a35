"""Numbers as small whole numbers, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.errors import BadInput
from cascade.release.preprocessing import Dequantise, Quantise

Array = npt.NDArray[Any]


def quantise(batch: Array, feature: Quantise) -> Array:
    """`BadInput` for what is no number: there is no whole number for it."""
    limits = np.iinfo(feature.dtype)
    steps = np.rint(batch.astype(np.float64) / feature.scale) + feature.zero_point
    if np.isnan(steps).any():
        raise BadInput("NaN has no quantised form")
    whole: Array = np.clip(steps, limits.min, limits.max).astype(feature.dtype)
    return whole


def dequantise(batch: Array, feature: Dequantise) -> Array:
    return ((batch.astype(np.float64) - feature.zero_point) * feature.scale).astype(np.float32)
