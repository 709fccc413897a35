"""Some of the sensors, or their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Channels

Array = npt.NDArray[Any]


def channels(batch: Array, feature: Channels) -> Array:
    kept = batch[..., list(feature.keep)] if feature.keep else batch
    if not feature.mean:
        return kept
    # Added one after the other, not by `mean`: its order of adding depends on how the array lies in memory.
    total = kept[..., 0].astype(np.float64)
    for index in range(1, kept.shape[-1]):
        total = total + kept[..., index]
    mean: Array = (total / kept.shape[-1]).astype(np.float32)
    return mean
