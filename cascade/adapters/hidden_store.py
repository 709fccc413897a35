"""Hidden features between two segments of a model: kept by question, bounded in bytes, freed when the question ends.

On the engine's side, because they are large, belong to one process, and are worth nothing to a journal: a hop names
them by the question's key. Where the bound is reached the oldest go, and nothing is lost but time: a segment whose
features are gone runs the ones before it again, and what can't be sent up is replaced by the input.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.messages import Key

Array = npt.NDArray[Any]
Rows = Mapping[str, Array]
"""Of one sample: by output of the segment."""

MAX_BYTES = 32 * 1024 * 1024
_OVERHEAD_BYTES = 512
"""Of the dictionaries and array headers around one question's rows."""


class HiddenStore:
    """Written where models run, freed on the loop's thread."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, dict[object, Rows]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, key: Key, segment: object, rows: Rows) -> None:
        with self._lock:
            of_one = self._kept.setdefault(key, {})
            self.bytes += _size(rows) - _size(of_one.get(segment))
            of_one[segment] = rows
            while self.bytes > self.max_bytes and self._kept:
                self._free(next(iter(self._kept)))

    def get(self, key: Key, segment: object) -> Rows | None:
        with self._lock:
            return self._kept.get(key, _NOTHING).get(segment)

    def newest(self, key: Key, name: str) -> tuple[Any, Rows] | None:
        """By the name of the segment, and with it."""
        with self._lock:
            for segment, rows in reversed(self._kept.get(key, _NOTHING).items()):
                if str(segment) == name:
                    return segment, rows
        return None

    def drop(self, key: Key, segment: object) -> None:
        """Nothing goes on from there any more."""
        with self._lock:
            of_one = self._kept.get(key)
            if of_one is not None:
                self.bytes -= _size(of_one.pop(segment, None))
                if not of_one:
                    del self._kept[key]

    def free(self, key: Key) -> None:
        with self._lock:
            if key in self._kept:
                self._free(key)

    def _free(self, key: Key) -> None:
        self.bytes -= sum(map(_size, self._kept.pop(key).values()))


_NOTHING: dict[object, Rows] = {}


def rows_of(outputs: Mapping[str, Array], names: Sequence[str], samples: int) -> list[Rows]:
    """One sample's each. Copied out of a batch: a row that is kept must not keep the whole of it."""
    if samples == 1:
        return [{name: outputs[name][0] for name in names}]
    return [{name: outputs[name][index].copy() for name in names} for index in range(samples)]


def stacked_rows(rows: Sequence[Rows], name: str) -> Array:
    if len(rows) == 1:
        return rows[0][name][None]
    return np.stack([each[name] for each in rows])


def _size(rows: Rows | None) -> int:
    return 0 if rows is None else _OVERHEAD_BYTES + sum(array.nbytes for array in rows.values())
