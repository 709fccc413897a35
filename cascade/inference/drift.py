"""Drift: whether a stage's confidences, or the cues of its inputs, are still distributed as where its thresholds were
found.

Questions are looked at sixteen at a time: noting one is an append. Each number falls between two edges of its
reference, and a `Detector` bets that it does so otherwise than recorded. It bets on shifts to either side, on ends that
grow or shrink, and on each place for itself (a sensor that says the same every time). Where the reference is so small
that chance could explain a difference, it is not called drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.inference.detector import Detector, fair
from cascade.release.reference import Reference, Shape

Array = npt.NDArray[Any]

BLOCK = 16
"""Questions that are looked at together."""
TILTS = (0.5, 1.0, 2.0, 4.0)
"""How steep are the shifts that are bet on: chances are multiplied by up to e to the power of this, either way."""
TAKEN = 0.3
"""A bet that one place takes so much of what belonged to all."""
FORGETS = 0.9
"""Of what is shown, not of what decides: what a block counts when the next one has come."""
NEAREST = 1e-3
"""In place of no share at all, in the index that is shown."""


class Quantity:
    """One number per question, and what it was where it was recorded."""

    def __init__(self, name: str, shape: Shape, tolerance: float, rounds: float) -> None:
        self.name = name
        self._edges = np.array(shape.edges)
        self._shares = np.array(shape.counts, float) / shape.samples
        self._detector = Detector(fair(_pays(self._shares), self._shares, shape.samples, tolerance), rounds)
        self._recent = np.zeros(len(shape.counts))

    def drifted(self, values: Array) -> bool:
        """Look at a block."""
        places = np.searchsorted(self._edges, values, side="right")
        places[np.isnan(values)] = len(self._edges) + 1
        self._recent = FORGETS * self._recent + np.bincount(places, minlength=len(self._recent))
        return self._detector.alarmed(places)

    @property
    def distance(self) -> float:
        seen = float(self._recent.sum())
        if not seen:
            return 0.0
        now, then = np.maximum(self._recent / seen, NEAREST), np.maximum(self._shares, NEAREST)
        return float(((now - then) * np.log(now / then)).sum())


class DriftWatch:
    """All that is watched of one stage."""

    def __init__(self, reference: Reference, cues: tuple[str, ...], seldom: float) -> None:
        """`seldom`: questions between two false alarms, on average and at least."""
        names = ("confidence", *[f"input_{cue}" for cue in cues])
        shapes = (reference.confidence, *reference.cues)
        rounds = seldom * len(names) / BLOCK
        self._quantities = [
            Quantity(name, shape, reference.tolerance, rounds) for name, shape in zip(names, shapes, strict=True)
        ]
        self._missing = (float("nan"),) * len(cues)
        self._values: list[float] = []
        self._cues: list[tuple[float, ...]] = []

    def note(self, confidence: float | None, cues: tuple[float, ...]) -> bool:
        """True: a block is full, and `drifted` has something to look at."""
        self._values.append(float("nan") if confidence is None else confidence)
        if self._missing:
            self._cues.append(cues if len(cues) == len(self._missing) else self._missing)
        return len(self._values) >= BLOCK

    def drifted(self) -> list[str]:
        """Which quantities are found to be others than they were."""
        columns = [np.array(self._values)]
        if self._cues:
            columns += list(np.array(self._cues).T)
        self._values.clear()
        self._cues.clear()
        return [each.name for each, values in zip(self._quantities, columns, strict=True) if each.drifted(values)]

    def distances(self) -> dict[str, float]:
        return {each.name: each.distance for each in self._quantities}


def _pays(shares: Array) -> Array:
    """Before they are made fair: how much likelier each outcome is, if it is as the bet says."""
    middles = np.cumsum(shares) - 0.5 * shares
    to_the_right = 2.0 * middles - 1.0
    to_the_ends = 2.0 * np.abs(to_the_right) - 1.0
    to_the_right[-1] = to_the_ends[-1] = 0.0  # what is no number lies on no side
    tilts = [np.exp(sign * tilt * score) for score in (to_the_right, to_the_ends) for tilt in TILTS for sign in (-1, 1)]
    place = np.eye(len(shares))
    taken = [(1.0 - TAKEN) + TAKEN * place[at] / max(shares[at], 1e-3) for at in range(len(shares))]
    return np.stack([*tilts, *taken], axis=1)
