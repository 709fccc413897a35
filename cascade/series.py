"""The numbers behind the metrics: one per set of label values, and never more sets than allowed.

The hot path is one dictionary look-up by the values as they come. What is not found there goes the slow way: values are
made safe to show, and past the cap the open ones become `other`, while those of a closed set stay what they are.
One thread writes; any thread may read: `dict.copy` and `list` take a whole picture under the interpreter's lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterator
from itertools import accumulate

from cascade import metrics
from cascade.metrics import BY_NAME, CLOSED, NONE, OTHER, ROWS, Kind, Reading, Row

Labels = tuple[str, ...]

MAX_LABEL = 64
"""Characters. A longer value is cut."""
ABSURD = 1e18
"""Whatever is larger was not measured, and would spoil a sum for ever."""
MAX_STRANGE_TASKS = 50
"""Tasks that no ladder here is for. Their names are a peer's to choose, and must not crowd out the known ones."""


def kept(names: tuple[str, ...], values: Labels) -> Labels:
    """The values as they are shown: of a closed set, or short and printable."""
    return tuple([_kept(name, str(value)) for name, value in zip(names, values, strict=True)])


def _kept(name: str, value: str) -> str:
    closed = CLOSED.get(name)
    if closed is None:
        return shown(value)
    if value in closed:
        return value
    return NONE if not value and NONE in closed else OTHER


def shown(value: str) -> str:
    """A value that no page and no terminal stumbles over, whoever wrote it."""
    value = value[:MAX_LABEL]
    return value if value.isprintable() else "".join([char if char.isprintable() else "?" for char in value])


class Tasks:
    """Which tasks have series of their own: those of the ladders, and a few strangers."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._strange: set[str] = set()

    def install(self, task: str) -> None:
        self._known.add(shown(task))

    def admitted(self, task: str) -> str:
        if task in self._known or task in self._strange:
            return task
        if len(self._strange) < MAX_STRANGE_TASKS:
            self._strange.add(task)
            return task
        return OTHER


class Shelf:
    """Which sets of label values a metric has. The tier is not among them: it is the same for all."""

    __slots__ = ("cap", "names", "overflowed", "row", "tasks", "tier")

    def __init__(self, row: Row, tier: str, cap: int, tasks: Tasks) -> None:
        self.row = row
        self.tier = tier
        self.cap = cap
        self.tasks = tasks
        self.names = row.labels[1:]
        self.overflowed = 0

    def place(self, labels: Labels, taken: int, known: Container[Labels]) -> Labels:
        """Where values that were not found are counted. `known` is what the metric has so far, `taken` how many."""
        safe = kept(self.names, labels)
        if self.names and self.names[0] == "task":
            safe = (self.tasks.admitted(safe[0]), *safe[1:])
        if safe in known or taken < self.cap:
            return safe
        self.overflowed += 1
        return tuple([value if name in CLOSED else OTHER for name, value in zip(self.names, safe, strict=True)])


class Counts:
    """Numbers that only grow."""

    __slots__ = ("shelf", "values")

    def __init__(self, row: Row, tier: str, cap: int, tasks: Tasks) -> None:
        self.shelf = Shelf(row, tier, cap, tasks)
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        try:
            self.values[labels] += amount
        except KeyError:
            place = self.shelf.place(labels, len(self.values), self.values)
            self.values[place] = self.values.get(place, 0) + amount

    def readings(self) -> Iterator[Reading]:
        row, tier = self.shelf.row, self.shelf.tier
        for labels, value in self.values.copy().items():
            yield Reading(row, (tier, *labels), value)


class Spread:
    """A histogram: how many observations fell in each bucket, and their sum. What can't be is left out."""

    __slots__ = ("bounds", "cells", "shelf")

    def __init__(self, row: Row, tier: str, cap: int, tasks: Tasks) -> None:
        self.shelf = Shelf(row, tier, cap, tasks)
        self.bounds = row.buckets
        self.cells: dict[Labels, list[float]] = {}
        """Per set of values: the count of each bucket, the count of what lies above all, and the sum."""

    def observe(self, labels: Labels, value: float) -> None:
        if not 0.0 <= value < ABSURD:
            return
        cell = self.cells.get(labels) or self._cell(labels)
        cell[bisect_left(self.bounds, value)] += 1
        cell[-1] += value

    def _cell(self, labels: Labels) -> list[float]:
        place = self.shelf.place(labels, len(self.cells), self.cells)
        return self.cells.setdefault(place, [0] * (len(self.bounds) + 1) + [0.0])

    def readings(self) -> Iterator[Reading]:
        row, tier = self.shelf.row, self.shelf.tier
        for labels, cell in self.cells.copy().items():
            *counts, total = list(cell)
            yield Reading(row, (tier, *labels), total, tuple([int(count) for count in accumulate(counts)]))


class Shelves:
    """All the metrics of one process or hop: what is counted, and what is read when somebody looks."""

    def __init__(self, tier: str, max_series: int) -> None:
        self.tier = tier
        self.tasks = Tasks()
        self.counts = {row: Counts(row, tier, max_series, self.tasks) for row in ROWS if row.kind is Kind.COUNTER}
        self.spreads = {row: Spread(row, tier, max_series // 4, self.tasks) for row in ROWS if row.buckets}
        self._gauges: dict[tuple[Row, Labels], Callable[[], float]] = {}

    def gauge(self, row: Row | str, labels: Labels, read: Callable[[], float]) -> None:
        row = BY_NAME[row] if isinstance(row, str) else row
        self._gauges[row, kept(row.labels[1:], labels)] = read

    def readings(self) -> Iterator[Reading]:
        yield from self._read_gauges()
        for counts in self.counts.values():
            yield from counts.readings()
        for spread in self.spreads.values():
            yield from spread.readings()
        shelves = [counts.shelf for counts in self.counts.values()] + [spread.shelf for spread in self.spreads.values()]
        for shelf in shelves:
            if shelf.overflowed:
                yield Reading(metrics.OVERFLOW, (self.tier, shelf.row.name), shelf.overflowed)

    def _read_gauges(self) -> Iterator[Reading]:
        for (row, labels), read in self._gauges.copy().items():
            try:
                yield Reading(row, (self.tier, *labels), float(read()))
            except Exception:  # noqa: BLE001 - somebody else's callable: its fault must not hide all the other metrics
                self.counts[metrics.BROKEN].add((row.name,))
