"""Shift and scale: `(x - subtract) / divide`, as float32, whatever type the numbers came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.bundle import Normalise


def normalise(batch: npt.NDArray[Any], feature: Normalise) -> npt.NDArray[Any]:
    """Divided, not multiplied by a reciprocal: the last bit must be the one that the model was calibrated on."""
    if feature.subtract:
        batch = np.subtract(batch, np.float32(feature.subtract), dtype=np.float32, casting="unsafe")
    scaled: npt.NDArray[Any] = np.divide(batch, np.float32(feature.divide), dtype=np.float32, casting="unsafe")
    return scaled
