"""Overlapping windows over the first axis of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Window

Array = npt.NDArray[Any]


def window(batch: Array, feature: Window) -> Array:
    return framed(batch, feature.length, feature.step)


def framed(batch: Array, length: int, step: int) -> Array:
    """(samples, time, …) as (samples, windows, length, …): a view, as long as nobody writes."""
    views = np.lib.stride_tricks.sliding_window_view(batch, length, axis=1)[:, ::step]
    return np.moveaxis(views, -1, 2)
