"""`activity`: how much readings move about their slow mean."""

from __future__ import annotations

import math

import numpy as np

from cascade.inference.triggers.spec import Activity
from cascade.inference.triggers.trigger import MOST, Array, readings_of


class FeelsActivity:
    def __init__(self, spec: Activity) -> None:
        self._settle, self._one_sensor = spec.settle, spec.one_sensor
        self._mean: Array | None = None
        self._seen = 0

    def level(self, signal: Array) -> float:
        """The first readings are the mean to begin with."""
        readings = readings_of(signal, self._one_sensor)
        if self._mean is None or self._mean.shape != readings.shape[1:]:
            self._mean, self._seen = readings.mean(axis=0), 0
        moved = float(np.sqrt(np.mean((readings - self._mean) ** 2)))
        self._follow(readings)
        if math.isfinite(moved) and np.isfinite(self._mean).all():
            return moved
        self._mean = None
        return MOST

    def forget(self) -> None:
        """Offsets are the sensor's, and stay."""

    def _follow(self, readings: Array) -> None:
        """Quickly in the beginning, then as slowly as it was set."""
        self._seen = min(self._settle, self._seen + len(readings))
        share = min(1.0, len(readings) / max(1, self._seen))
        self._mean = self._mean + share * (readings.mean(axis=0) - self._mean)
