"""The order in which thresholds are tried: from everything climbs to everything is answered below.

Either it is a fixed grid, which owes nothing to the data, so that all samples are left to test on: the more links an
answer saves, the more doubt it may have. Or it is learned, on samples of its own: for each price of risk, from dear to
cheap, the thresholds that are best at it, and small steps from each to the next. A greedy walk would not do: what it
once gave to one exit it never takes back. Learned on few samples an order is worse than a fixed one, and always where
there is one threshold; a fixed one suffers from a stage that is surer of itself than others are, and knows no joules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.inference.recordings import Recordings
from cascade.inference.scoring import Scored, Weighed, climb

Array = npt.NDArray[Any]
Thresholds = tuple[float | None, ...]

LEVELS = 56
"""Thresholds tried of each gate, where they are learned: quantiles of what it measured, closest at both ends. Few are
unsure, and whether these climb is what matters."""
_FINENESS = 8
"""Steps of a fixed grid in which the distance to certainty doubles."""
PRICES = 0.1 * 2.0 ** np.arange(8.0, -6.0, -1.0)
"""What a whole target's worth of risk costs, beside a cost of 1 where everything climbs."""
_SWEEPS = 6
_PARTS = 40
"""Small steps, at most, between the thresholds of two prices: a walk that ends between far points ends at the first."""
FIXED_GRIDS: dict[str, Callable[[Array], Array]] = {
    "confidence": lambda doubt: 1.0 - doubt,
    "margin": lambda doubt: 1.0 - doubt,
    "entropy": lambda doubt: doubt,
}
"""Gates whose measure is known to lie between 0 and 1, by how a distance to certainty becomes a threshold."""


class Path(NamedTuple):
    """Thresholds of the whole ladder, in the order of falling safety."""

    steps: tuple[Thresholds, ...]
    learned: bool


def movable(stages: Sequence[Weighed]) -> list[int]:
    """Which stages have a threshold to choose. The top answers what reaches it, whatever its gate says."""
    return [number for number, stage in enumerate(stages[:-1]) if stage.gate.measure.needs_threshold]


def is_fixed(stages: Sequence[Weighed]) -> bool:
    """Whether an order is known without looking at data: doubts are comparable where they are of one kind, and what an
    answer saves is known where it saves links. Exits on one tier save each other's joules, which is another matter."""
    free = [stages[number] for number in movable(stages)]
    names = {stage.gate.stage.gate.name for stage in free}
    return len(names) == 1 and names <= FIXED_GRIDS.keys() and len({stage.record.tier for stage in free}) == len(free)


def fixed_path(stages: Sequence[Weighed]) -> Path:
    """Distances to certainty in a geometric series: an overconfident model differs in its ninth nine."""
    free = movable(stages)
    grid_of = FIXED_GRIDS[stages[free[0]].gate.stage.gate.name]
    links = [len({stage.record.tier for stage in stages[number:]}) - 1 or 1 for number in free]
    doubt = np.concatenate([[0.0], 2.0 ** (np.arange(-30 * _FINENESS, 1) / _FINENESS)])
    columns: list[list[float | None]] = [[stage.gate.threshold] * len(doubt) for stage in stages]
    for number, above in zip(free, links, strict=True):
        columns[number] = grid_of(doubt * above / max(links)).tolist()
    return Path(tuple(dict.fromkeys(zip(*columns, strict=True))), False)


def _distinct(grid: Array) -> list[float]:
    return list(dict.fromkeys(grid.tolist()))


def learned_path(
    recordings: Recordings, stages: Sequence[Weighed], risk: Callable[[Scored], float], cost: Callable[[Scored], float]
) -> Path:
    """`risk` is counted in targets, `cost` in what it costs where everything climbs."""
    grid = _Grid(recordings, stages, risk, cost)
    at = grid.nothing
    points = [at]
    for price in PRICES:
        at = grid.best(at, float(price))
        if at != points[-1]:
            points.append(at)
    if points[-1] != grid.everything:
        points.append(grid.everything)
    steps = [step for before, after in pairwise(points) for step in grid.between(before, after)]
    return Path((*steps, grid.thresholds(points[-1])), True)


Places = tuple[int, ...]
"""Which level of each gate that can be moved."""


class _Grid:
    """All levels of all gates that can be moved, and what was found out about places on it."""

    def __init__(
        self,
        recordings: Recordings,
        stages: Sequence[Weighed],
        risk: Callable[[Scored], float],
        cost: Callable[[Scored], float],
    ) -> None:
        self._recordings, self._stages, self._risk, self._cost = recordings, stages, risk, cost
        self._free = movable(stages)
        self._levels = [np.array(_levels(stages[number])) for number in self._free]
        self._judged: dict[Places, tuple[float, float]] = {}
        self.nothing: Places = (0,) * len(self._free)
        self.everything: Places = tuple(len(levels) - 1 for levels in self._levels)

    def best(self, at: Places, price: float) -> Places:
        """From there on, one gate after the other, until none can be moved for the better."""
        for _ in range(_SWEEPS):
            before = at
            for gate, levels in enumerate(self._levels):
                moves = [(*at[:gate], level, *at[gate + 1 :]) for level in range(len(levels))]
                at = min(moves, key=lambda places: self._paid(places, price))
            if at == before:
                break
        return at

    def between(self, before: Places, after: Places) -> list[Thresholds]:
        """Small steps from one to the other, all gates together; the other is not among them."""
        levels = max(abs(a - b) for a, b in zip(before, after, strict=True))
        parts = min(2 * levels, _PARTS)
        return [
            self.thresholds(tuple(a + (b - a) * part / parts for a, b in zip(before, after, strict=True)))
            for part in range(parts)
        ]

    def thresholds(self, places: Sequence[float]) -> Thresholds:
        found: list[float | None] = [stage.gate.threshold for stage in self._stages]
        for number, levels, place in zip(self._free, self._levels, places, strict=True):
            found[number] = float(np.interp(place, np.arange(len(levels)), levels))
        return tuple(found)

    def _paid(self, places: Places, price: float) -> float:
        if places not in self._judged:
            scored = climb(self._recordings, self._stages, self.thresholds(places))
            self._judged[places] = self._risk(scored), self._cost(scored)
        risk, cost = self._judged[places]
        return cost + price * risk


def _levels(stage: Weighed) -> list[float]:
    """From where nothing is sure to where everything is that could be read."""
    values = stage.values[stage.readable & np.isfinite(stage.values)]
    below = stage.gate.measure.sure_below
    if not len(values):
        return [stage.gate.threshold or 0.0]
    shares = np.concatenate([[0.0], 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 6.0, LEVELS))), [1.0]])
    grid = np.quantile(values, shares if below else 1.0 - shares)
    nothing = np.nextafter(values.min(), -np.inf) if below else np.nextafter(values.max(), np.inf)
    return _distinct(np.concatenate([[nothing], grid]))
