"""Shift and scale: `(x - subtract) / divide`, as float32, whatever type the numbers came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Normalise


def normalise(batch: npt.NDArray[Any], feature: Normalise) -> npt.NDArray[Any]:
    """Divided, not multiplied by a reciprocal: the last bit must be the one that the model was calibrated on."""
    if feature.subtract:
        batch = np.subtract(batch, _numbers(feature.subtract), dtype=np.float32, casting="unsafe")
    scaled: npt.NDArray[Any] = np.divide(batch, _numbers(feature.divide), dtype=np.float32, casting="unsafe")
    return scaled


def _numbers(one_or_each: float | tuple[float, ...]) -> Any:
    return np.array(one_or_each, np.float32) if isinstance(one_or_each, tuple) else np.float32(one_or_each)
