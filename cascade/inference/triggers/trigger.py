"""What a trigger owes: a level for each sample, which is a finite number whatever the sample says."""

from __future__ import annotations

import math
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

MOST = 1e12
"""Where a level has no end."""


class Listener(Protocol):
    """One kind of trigger on one stream. What it remembers of samples before is in it."""

    def level(self, signal: Array) -> float:
        """Of the newest sample, which has numbers, all finite. `BadInput` for a shape that has no such level."""

    def forget(self) -> None:
        """There was a gap."""


class Hysteresis:
    """On from one level, off below a lower one."""

    def __init__(self, on_at: float, off_at: float) -> None:
        self.on = False
        self._on_at, self._off_at = on_at, off_at

    def hear(self, level: float) -> bool:
        """A level that is none counts as the highest: what can't be read is never nothing."""
        level = MOST if math.isnan(level) else level
        self.on = level >= self._off_at if self.on else level >= self._on_at
        return self.on


def full_scale_of(signal: Array, told: float) -> float:
    """The largest number there can be: as it was told, or as the type says."""
    if told:
        return told
    if signal.dtype.kind in "iu":
        limits = np.iinfo(signal.dtype)
        return float(limits.max - limits.min) / 2.0
    return 1.0


def readings_of(signal: Array, one_sensor: bool) -> Array:
    """One row per reading, one column per sensor."""
    numbers = signal.astype(np.float64)
    if numbers.ndim < 2:
        return numbers.reshape(-1, 1) if one_sensor else numbers.reshape(1, -1)
    return numbers.reshape(len(numbers), -1)


def decibels(share: float) -> float:
    """Of a share of full scale. Silence is -120 dB; nothing is louder than 120."""
    if not share < 1e6:  # infinite, or none at all
        share = 1e6
    return 20.0 * math.log10(max(share, 1e-6))
