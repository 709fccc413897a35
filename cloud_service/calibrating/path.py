"""The order in which thresholds are tried: from everything climbs to everything is answered below.

Of one threshold it is a fixed grid, which owes nothing to the data, so that all samples are left to test on. Of several
it is learned on samples of its own: each step lowers the threshold that saves most for the risk it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.inference.recordings import Recordings
from cascade.inference.scoring import Scored, Weighed, climb

Array = npt.NDArray[Any]
Thresholds = tuple[float | None, ...]

LEVELS = 48
"""Thresholds tried of each gate, where they are learned: quantiles of what it measured."""
_LOOK_AHEAD = 6
"""Levels that one step may take at once: over a stretch where nothing is saved."""
_FINENESS = 8
"""Steps of a fixed grid in which the distance to certainty doubles."""
_PARTS = 8
"""Small steps that a step is walked in."""
_AS_IF_SEEN = 0.5
"""Samples that a step is thought to have harmed beyond those seen: a step without harm is no step without risk."""
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
    """Whether the order can be known without looking at data."""
    free = movable(stages)
    return len(free) == 1 and stages[free[0]].gate.stage.gate.name in FIXED_GRIDS


def fixed_path(stages: Sequence[Weighed]) -> Path:
    """Distances to certainty in a geometric series: an overconfident model differs in its ninth nine."""
    (free,) = movable(stages)
    doubt = np.concatenate([[0.0], 2.0 ** (np.arange(-30 * _FINENESS, 1) / _FINENESS)])
    grid = FIXED_GRIDS[stages[free].gate.stage.gate.name](doubt)
    usual: list[float | None] = [stage.gate.threshold for stage in stages]
    return Path(tuple((*usual[:free], float(at), *usual[free + 1 :]) for at in _distinct(grid)), False)


def _distinct(grid: Array) -> list[float]:
    return list(dict.fromkeys(grid.tolist()))


def learned_path(
    recordings: Recordings, stages: Sequence[Weighed], risk: Callable[[Scored], float], cost: Callable[[Scored], float]
) -> Path:
    """Greedy: at each step the threshold, and how far, that saves most cost for the risk that it adds."""
    free = movable(stages)
    levels = {number: _levels(stages[number]) for number in free}
    at = dict.fromkeys(free, 0)

    def thresholds(places: dict[int, int]) -> Thresholds:
        return tuple(
            levels[number][places[number]] if number in places else stage.gate.threshold
            for number, stage in enumerate(stages)
        )

    def judged(places: dict[int, int]) -> tuple[float, float]:
        scored = climb(recordings, stages, thresholds(places))
        return risk(scored), cost(scored)

    now, steps = judged(at), [thresholds(at)]
    while any(at[number] < len(levels[number]) - 1 for number in free):
        moves = [
            {**at, number: to}
            for number in free
            for to in range(at[number] + 1, min(at[number] + _LOOK_AHEAD + 1, len(levels[number])))
        ]
        tried = [(move, judged(move)) for move in moves]
        before = at
        at, now = max(tried, key=lambda one: _worth(now, one[1], recordings.samples))
        (moved,) = [number for number in free if at[number] != before[number]]
        steps += _between(stages[moved], thresholds(before), thresholds(at), moved)
    return Path(tuple(steps), True)


def _between(stage: Weighed, before: Thresholds, after: Thresholds, moved: int) -> list[Thresholds]:
    """The step in small ones: a walk that ends between two far points would end at the first."""
    low, high = sorted((before[moved] or 0.0, after[moved] or 0.0))
    inside = stage.values[(stage.values > low) & (stage.values < high)]
    count = min(_PARTS, len(inside))
    grid = np.quantile(inside, np.linspace(0.0, 1.0, count + 1)[1:-1]).tolist() if count > 1 else []
    grid = grid if stage.gate.measure.sure_below else grid[::-1]
    return [(*before[:moved], at, *before[moved + 1 :]) for at in grid] + [after]


def _worth(now: tuple[float, float], then: tuple[float, float], samples: int) -> float:
    """Cost saved per risk added. A step that saves nothing is worth less the more it risks."""
    risk, saved = then[0] - now[0], now[1] - then[1]
    priced = max(risk, 0.0) + _AS_IF_SEEN / samples
    return saved / priced if saved > 0.0 else -priced


def _levels(stage: Weighed) -> list[float]:
    """From where nothing is sure to where everything is that could be read."""
    values = stage.values[stage.readable & np.isfinite(stage.values)]
    below = stage.gate.measure.sure_below
    if not len(values):
        return [stage.gate.threshold or 0.0]
    shares = np.linspace(0.0, 1.0, LEVELS)
    grid = np.quantile(values, shares if below else 1.0 - shares)
    nothing = np.nextafter(values.min(), -np.inf) if below else np.nextafter(values.max(), np.inf)
    return _distinct(np.concatenate([[nothing], grid]))
