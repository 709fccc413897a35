"""Images of another size. Pixels are squares: the ends of both images are the same, not the middles of their pixels.

Bilinear is what OpenCV and PyTorch (`align_corners=False`, no antialiasing) do. `area` is the mean of what a pixel
covers, parts of pixels too, by sums that run along the axis: exact for whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.release.preprocessing import Resize

Array = npt.NDArray[Any]


def resize(batch: Array, feature: Resize) -> Array:
    along = _WAYS[feature.how]
    if batch.dtype == bool:
        batch = batch.view(np.uint8)
    return along(along(batch, 1, feature.height), 2, feature.width).astype(np.float32)


def _nearest(batch: Array, axis: int, size: int) -> Array:
    given = batch.shape[axis]
    at = np.minimum(((np.arange(size) + 0.5) * given / size).astype(np.int64), given - 1)
    picked: Array = np.take(batch, at, axis)
    return picked


def _bilinear(batch: Array, axis: int, size: int) -> Array:
    given = batch.shape[axis]
    middle = np.clip((np.arange(size) + 0.5) * given / size - 0.5, 0.0, given - 1.0)
    low = np.minimum(middle.astype(np.int64), max(0, given - 2))
    high = np.minimum(low + 1, given - 1)
    share = _along(middle - low, batch.ndim, axis)
    mixed: Array = np.take(batch, low, axis) * (1.0 - share) + np.take(batch, high, axis) * share
    return mixed


def _area(batch: Array, axis: int, size: int) -> Array:
    given = batch.shape[axis]
    none = np.zeros([1 if place == axis else length for place, length in enumerate(batch.shape)])
    sums = np.concatenate([none, np.cumsum(batch, axis=axis, dtype=np.float64)], axis=axis)
    edges = np.arange(size + 1) * given / size
    whole = np.minimum(edges.astype(np.int64), given - 1)
    share = _along(edges - whole, batch.ndim, axis)
    up_to = np.take(sums, whole, axis) * (1.0 - share) + np.take(sums, whole + 1, axis) * share
    means: Array = np.diff(up_to, axis=axis) * (size / given)
    return means


def _along(numbers: Array, axes: int, axis: int) -> Array:
    return numbers.reshape([-1 if place == axis else 1 for place in range(axes)])


_WAYS: Mapping[str, Callable[[Array, int, int], Array]] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "area": _area,
}
