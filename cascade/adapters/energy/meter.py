"""What an energy meter owes: how many joules a stretch of work took, and where that number comes from.

A stretch begins with `begin` and ends with `spent`. A counter (RAPL, a shunt) reads itself at both; an estimate looks
at what the work is known to cost. A meter that fails says `UNKNOWN`, and never raises: nobody loses an answer to a
gauge.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from cascade.messages import Energy
from cascade.release.bundle import Costs


class Spent(NamedTuple):
    """Joules, never without where they come from."""

    joules: float
    energy: Energy


NOTHING_KNOWN = Spent(0.0, Energy.UNKNOWN)


class Meter(Protocol):
    """One way to know."""

    name: str

    def missing(self) -> str | None:
        """Why this meter can't read anything here, or None if it can."""

    def begin(self) -> float:
        """A mark: the joules on the counter, for meters that have one."""

    def spent(self, since: float, costs: Costs, samples: int) -> Spent:
        """What `samples` runs of a stage took together, since the mark."""
