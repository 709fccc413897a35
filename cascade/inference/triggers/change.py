"""`change`: a time series leaves its recent range."""

from __future__ import annotations

import math

import numpy as np

from cascade.inference.triggers.spec import Change
from cascade.inference.triggers.trigger import MOST, Array, readings_of

NORMAL = 1.349
"""The middle half of a normal distribution is so many standard deviations wide."""


class SeesChange:
    def __init__(self, spec: Change) -> None:
        self._spec = spec
        self._recent: Array | None = None
        self._next = self._count = 0

    def level(self, signal: Array) -> float:
        readings = readings_of(signal, self._spec.one_sensor)
        if self._recent is None or self._recent.shape[1:] != readings.shape[1:]:
            self._recent = np.zeros((self._spec.memory, readings.shape[1]))
            self._next = self._count = 0
        highest = 0.0
        for reading in readings:
            highest = max(highest, self._off(self._recent, reading))
            self._recent[self._next] = reading
            self._next = (self._next + 1) % self._spec.memory
            self._count = min(self._spec.memory, self._count + 1)
        return highest

    def forget(self) -> None:
        """What was usual before a gap is usual after it."""

    def _off(self, recent: Array, reading: Array) -> float:
        if self._count < self._spec.learn:
            return 0.0
        low, middle, high = np.percentile(recent[: self._count], (25.0, 50.0, 75.0), axis=0)
        spread = np.maximum((high - low) / NORMAL, self._spec.least_spread)
        distance = np.abs(reading - middle)
        furthest = float(np.where(distance > 0.0, distance / spread, 0.0).max())
        return min(furthest, MOST) if math.isfinite(furthest) else MOST
