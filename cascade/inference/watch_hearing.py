"""Each sample as it comes: whether its numbers are some, and whether the trigger hears something in it."""

from __future__ import annotations

import math

import numpy as np

from cascade.errors import BadInput
from cascade.inference.triggers import Trigger
from cascade.inference.watch_words import Array, Tensors, WatchCounts


class Hearing:
    """Without a trigger there is something in everything, and nothing is looked into."""

    def __init__(self, trigger: Trigger | None, hold: int, counts: WatchCounts) -> None:
        self._trigger, self._hold, self._counts = trigger, hold, counts
        self._heard = False
        """Since the last window."""
        self._until = 0
        """Up to this place in the stream there is something, even if nothing is heard any more."""
        self._before: Tensors = {}

    def hear(self, tensors: Tensors, end: int) -> None:
        """The sample that ends at this place."""
        if self._trigger is None:
            return
        self._counts.bad["flat"] += _says_nothing(self._before, tensors)
        self._before = tensors
        try:
            if self._trigger.hear(tensors):
                self._heard, self._until = True, end + self._hold
        except BadInput:
            self._counts.bad["misfit"] += 1

    def something(self, end: int) -> bool:
        """In the window that ends there."""
        return self._trigger is None or self._heard or end <= self._until

    def window_ended(self) -> None:
        """What was heard so far belonged to it."""
        self._heard = False

    def forget(self) -> None:
        if self._trigger is not None:
            self._trigger.forget()
        self._heard, self._until, self._before = False, 0, {}


def finite(tensors: Tensors) -> bool:
    """A sum tells in one pass: NaN and infinity survive it. `BadInput` for what is not made of numbers."""
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
