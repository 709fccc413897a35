"""A share that is estimated while it changes: weighted, forgetting, with an interval.

Recent cases count most: what a hop did last month says little about the model that stands above it today. Forgetting is
exponential, so memory is four numbers however long it runs.

The interval is Wilson's, of the share over what is remembered, at one look. It is for people: whoever looks again and
again, and acts when it first looks bad, will be wrong more often than it says. What acts is `detector.py`, whose false
alarms are bounded however often it looks.
"""

from __future__ import annotations

import math

from cascade.messages import Word

NINETY_FIVE = 1.959964
"""Standard deviations that hold 95 % of a normal distribution: of the intervals that are shown."""


class Estimated(Word, frozen=True, gc=False):
    """A share, between which limits it lies with 95 % confidence, and on how many cases of equal weight that rests."""

    share: float
    low: float
    high: float
    cases: float


class RunningShare:
    """Hits among cases. A case with weight w stands for w like it: 1/probability, where chance chose it."""

    __slots__ = ("_hits", "_keep", "_squares", "_weight", "seen")

    def __init__(self, remembers: float) -> None:
        """`remembers`: after so many newer cases one counts e times less."""
        self._keep = 1.0 - 1.0 / remembers
        self._hits = self._weight = self._squares = 0.0
        self.seen = 0
        """Cases ever, of any weight."""

    def add(self, hit: bool, weight: float = 1.0) -> None:
        keep = self._keep
        self._hits = keep * self._hits + (weight if hit else 0.0)
        self._weight = keep * self._weight + weight
        self._squares = keep * keep * self._squares + weight * weight
        self.seen += 1

    def estimated(self) -> Estimated | None:
        """None: nothing was seen yet."""
        if not self._weight:
            return None
        share, cases = min(1.0, self._hits / self._weight), self._weight * self._weight / self._squares
        low, high = wilson(share, cases)
        return Estimated(share, low, high, cases)


def wilson(share: float, cases: float, deviations: float = NINETY_FIVE) -> tuple[float, float]:
    """The limits between which a share lies of which so many cases were seen. Never empty, also where all were hits."""
    squared = deviations * deviations / cases
    middle = (share + squared / 2.0) / (1.0 + squared)
    half = deviations / (1.0 + squared) * math.sqrt(share * (1.0 - share) / cases + squared / (4.0 * cases))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
