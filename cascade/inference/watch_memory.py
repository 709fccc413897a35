"""What a watch remembers of a stream: its last samples, by the place that they have in it."""

from __future__ import annotations

from collections import deque

import numpy as np

from cascade.errors import BadInput
from cascade.inference.watch_words import Array, Tensors


class Memory:
    """Places are counted from the first sample on, in samples or in rows, and never again."""

    def __init__(self, by_row: bool) -> None:
        self.end = 0
        """The place after the newest."""
        self._by_row = by_row
        self._parts: deque[tuple[int, int, Tensors]] = deque()
        """Begin, end, and what lies between."""

    def take(self, tensors: Tensors) -> None:
        """`BadInput` for a sample that doesn't go on from those before."""
        length = self._length(tensors)
        if self._parts and not _alike(self._parts[-1][2], tensors, 1 if self._by_row else 0):
            raise BadInput("a sample of another shape or type than those before")
        self._parts.append((self.end, self.end + length, tensors))
        self.end += length

    def _length(self, tensors: Tensors) -> int:
        if not self._by_row:
            return 1
        lengths = {len(array) if array.ndim else -1 for array in tensors.values()}
        if len(lengths) != 1 or -1 in lengths:
            raise BadInput("rows are counted, and the tensors of a sample have none, or not as many each")
        return lengths.pop()

    def let_go(self, before: int) -> None:
        """What lies before this place is not wanted any more."""
        while self._parts and self._parts[0][1] <= before:
            self._parts.popleft()

    def cut(self, begin: int, end: int) -> Tensors:
        """What lies between two places, one after the other. A single sample is given as it came."""
        parts = [part for part in self._parts if part[0] < end and part[1] > begin]
        if not self._by_row:
            return parts[0][2] if len(parts) == 1 else _joined([tensors for _, _, tensors in parts])
        return _joined([_rows(part, begin, end) for part in parts])

    def forget(self) -> None:
        self._parts.clear()


def _alike(before: Tensors, now: Tensors, but: int) -> bool:
    """Of one type, and of one shape but for so many axes."""
    return before.keys() == now.keys() and all(
        array.dtype == before[name].dtype
        and array.ndim == before[name].ndim
        and array.shape[but:] == before[name].shape[but:]
        for name, array in now.items()
    )


def _rows(part: tuple[int, int, Tensors], begin: int, end: int) -> Tensors:
    first, last, tensors = part
    if first >= begin and last <= end:
        return tensors
    return {name: array[max(0, begin - first) : end - first] for name, array in tensors.items()}


def _joined(parts: list[Tensors]) -> Tensors:
    if len(parts) == 1:
        return parts[0]
    return {name: _one_after_the_other([part[name] for part in parts]) for name in parts[0]}


def _one_after_the_other(arrays: list[Array]) -> Array:
    return np.concatenate(arrays) if arrays[0].ndim else np.stack(arrays)
