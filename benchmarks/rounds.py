"""Measuring in turn: each system once a round, first one way round and then the other; medians, quartiles, ratios.

A noisy machine is noisy for all that is measured in one round: so what is compared is compared within rounds.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, Protocol

from benchmarks.processes import cpu_s

Tell = Callable[[str], None]


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    quick: bool = False
    """To see that a benchmark works: its figures mean nothing."""

    def of(self, count: int, least: int = 24) -> int:
        return max(least, count // 50) if self.quick else count

    def seconds(self, wanted_s: float) -> float:
        return min(wanted_s, 1.0) if self.quick else wanted_s

    def some(self, choices: Sequence[int], first: int = 2) -> tuple[int, ...]:
        return tuple(choices[:first] if self.quick else choices)


class Figures(NamedTuple):
    """Of one system in one round."""

    per_s: float
    cpu_s_per_1000: float
    """Of all its processes, and of what asks it."""
    p50_ms: float
    p99_ms: float


class System(Protocol):
    """What is measured."""

    name: str

    @property
    def pids(self) -> Sequence[int]:
        """All processes whose CPU counts."""

    def run(self, in_flight: int, count: int) -> list[float]:
        """Ask so many questions; how long each took, in seconds."""


def measured(system: System, in_flight: int, count: int) -> Figures:
    gc.collect()
    pids = system.pids
    before, began = cpu_s(pids), time.perf_counter()
    waits = system.run(in_flight, count)
    took_s = time.perf_counter() - began
    spent_s = cpu_s(pids) - before
    asked = len(waits)
    return Figures(asked / took_s, spent_s / asked * 1000.0, median(waits) * 1000.0, quantile(waits, 0.99) * 1000.0)


def in_turn(
    systems: Sequence[System], in_flight: int, count: int | Mapping[str, int], effort: Effort, tell: Tell
) -> dict[str, list[Figures]]:
    """A round that doesn't count, to warm up; then the others. `count` may differ by a system's name."""
    counts = {one.name: count if isinstance(count, int) else count[one.name] for one in systems}
    for system in systems:
        system.run(in_flight, max(in_flight, counts[system.name] // 4))
    figures: dict[str, list[Figures]] = {system.name: [] for system in systems}
    for number in range(effort.rounds):
        for system in systems if number % 2 == 0 else reversed(systems):
            figures[system.name].append(measured(system, in_flight, counts[system.name]))
        said = ", ".join(f"{name} {each[-1].per_s:.0f}/s" for name, each in figures.items())
        tell(f"  {in_flight} in flight, round {number + 1}: {said}")
    return figures


def medians(figures: Mapping[str, Sequence[Figures]]) -> dict[str, dict[str, float]]:
    return {
        name: {field: median(getattr(one, field) for one in rounds) for field in Figures._fields}
        for name, rounds in figures.items()
    }


def beside(figures: Mapping[str, Sequence[Figures]], ours: str) -> dict[str, dict[str, float]]:
    """Ours as ratios to each other one: the median of the rounds' own ratios."""
    return {
        name: {
            "times_as_many_per_s": _ratio(figures[ours], rounds, "per_s"),
            "share_of_its_cpu": _ratio(figures[ours], rounds, "cpu_s_per_1000"),
            "share_of_its_p50": _ratio(figures[ours], rounds, "p50_ms"),
        }
        for name, rounds in figures.items()
        if name != ours
    }


def compared(figures: Mapping[str, Sequence[Figures]], ours: str) -> dict[str, Any]:
    return {"medians": medians(figures), "ours_beside": beside(figures, ours)}


def _ratio(ours: Sequence[Figures], theirs: Sequence[Figures], field: str) -> float:
    pairs = zip(ours, theirs, strict=True)
    return float(median(getattr(a, field) / max(getattr(b, field), 1e-9) for a, b in pairs))


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def quartiles(values: Sequence[float]) -> dict[str, float]:
    return {"p25": quantile(values, 0.25), "p50": quantile(values, 0.5), "p75": quantile(values, 0.75)}


def median_of_ratios(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Of the medians of each round: a round is ours and theirs, one after the other."""
    return median(median(a) / max(median(b), 1e-12) for a, b in zip(ours, theirs, strict=True))
