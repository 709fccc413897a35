"""`motion`: the share of an image that differs from the image before.

A frozen camera gives the same image for ever, and no motion: samples that repeat to the last bit are counted by the
watch, so that it is seen.
"""

from __future__ import annotations

import numpy as np

from cascade.errors import BadInput
from cascade.inference.triggers.spec import Motion
from cascade.inference.triggers.trigger import Array, full_scale_of


class SeesMotion:
    def __init__(self, spec: Motion) -> None:
        self._spec = spec
        self._before: Array | None = None

    def level(self, signal: Array) -> float:
        if signal.ndim not in (2, 3):
            raise BadInput(f"an image of shape {signal.shape}: expected height, width, and perhaps colours")
        cells = _cells(signal, self._spec.cells)
        before, self._before = self._before, cells
        if before is None or before.shape != cells.shape:
            return 0.0
        differences = cells - before
        if not self._spec.same_light:
            differences -= np.median(differences)
        least = self._spec.pixel_step * _range(signal, self._spec.full_scale)
        return float(np.mean(~(np.abs(differences) <= least)))  # a difference that is none counts as one

    def forget(self) -> None:
        self._before = None


def _cells(image: Array, most: int) -> Array:
    """Means of square cells, without colours. What is left over at the lower and right edge is not looked at."""
    side = max(1, -(-max(image.shape[:2]) // most))
    height, width = max(1, image.shape[0] // side), max(1, image.shape[1] // side)
    cut = image[: height * side, : width * side]
    tall, wide = min(side, cut.shape[0]), min(side, cut.shape[1])
    cells: Array = cut.reshape(height, tall, width, wide, -1).mean(axis=(1, 3, 4), dtype=np.float64)
    return cells


def _range(image: Array, told: float) -> float:
    """From black to white."""
    return told or (2.0 * full_scale_of(image, 0.0) if image.dtype.kind == "u" else full_scale_of(image, 0.0))
