"""The same numbers along other axes, or with the axes in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Reshape, Transpose

Array = npt.NDArray[Any]


def reshape(batch: Array, feature: Reshape) -> Array:
    return batch.reshape(len(batch), *feature.shape)


def transpose(batch: Array, feature: Transpose) -> Array:
    """In a row in memory again: engines want it so."""
    return np.ascontiguousarray(batch.transpose(0, *(axis + 1 for axis in feature.order)))
