"""Real numbers to the integers of a quantised model, and back: one scale and one zero point per tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cascade.adapters.backends.backend import Array
from cascade.errors import BadInput


class Quantisation(NamedTuple):
    """`real = (integer - zero_point) * scale`."""

    scale: float
    zero_point: int
    dtype: np.dtype[Any]

    def integers(self, real: Array) -> Array:
        """Rounded, and held at the ends of the range as the training saw it. NaN has no integer: it would become
        a number like any other, and be answered with confidence."""
        limits = np.iinfo(self.dtype)
        steps = np.rint(real / np.float32(self.scale)) + self.zero_point
        if np.isnan(steps).any():
            raise BadInput("not a number, for an input that is quantised")
        integers: Array = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return integers

    def real(self, integers: Array) -> Array:
        numbers: Array = (integers.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return numbers
