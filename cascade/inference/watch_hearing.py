"""Each sample as it comes: whether its numbers are some, and whether the trigger hears something in it."""

from __future__ import annotations

import math

import numpy as np

from cascade.errors import BadInput
from cascade.inference.triggers import Trigger
from cascade.inference.watch_words import Array, Tensors, WatchCounts


class Hearing:
    """Without a trigger there is something in everything, and nothing is looked into."""

    def __init__(self, trigger: Trigger | None, counts: WatchCounts) -> None:
        self.something = trigger is None
        """There was something since the last window, up to the newest sample."""
        self._trigger, self._counts = trigger, counts
        self._before: Tensors = {}

    def hear(self, tensors: Tensors) -> None:
        if self._trigger is None:
            return
        self._counts.bad["flat"] += _says_nothing(self._before, tensors)
        self._before = tensors
        try:
            self.something |= self._trigger.hear(tensors)
        except BadInput:
            self._counts.bad["misfit"] += 1

    def window_ended(self) -> None:
        """What was heard so far belonged to it."""
        if self._trigger is not None:
            self.something = False

    def forget(self) -> None:
        if self._trigger is not None:
            self._trigger.forget()
            self.something = False
        self._before = {}


def finite(tensors: Tensors) -> bool:
    """Whether all numbers are. A sum tells in one pass: NaN and infinity survive it. `BadInput` for what is no numbers."""
    if any(array.dtype.kind not in "biuf" for array in tensors.values()):
        raise BadInput("a sample that is not made of numbers")
    return all(map(_finite, tensors.values()))


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or math.isfinite(array.sum()) or bool(np.isfinite(array).all())


def _says_nothing(before: Tensors, now: Tensors) -> bool:
    """Nothing varies in it, or it is the sample before once more: a sensor that is muted, covered or stuck."""
    arrays = [array for array in now.values() if array.size > 1]
    if not arrays:
        return False
    return all(array.min() == array.max() for array in arrays) or (
        before.keys() == now.keys() and all(np.array_equal(before[name], array) for name, array in now.items())
    )
