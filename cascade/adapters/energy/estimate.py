"""Joules where nothing measures them: from multiply-adds and bytes moved, as the bundle declares them for its model,
and as they follow from the size of its input for the rest (`cascade.release.costs`). Features count as 32 bits.

Published figures of the arithmetic alone: multiply-adds at 0.12 pJ (8 bits), 0.43 pJ (16) and 2.7 pJ (32, floating
point), 125 pJ for each byte from LPDDR3. An estimate says which of two models is dearer, and roughly by how much;
leakage, the idle board and the regulator are not in it.
"""

from __future__ import annotations

from cascade.adapters.energy.meter import NOTHING_KNOWN, Spent
from cascade.messages import Energy
from cascade.release.bundle import Costs

PICOJOULES_PER_MULTIPLY_ADD = {8: 0.12, 16: 0.43, 32: 2.7}
PICOJOULES_PER_BYTE_MOVED = 125.0


class EstimateMeter:
    """Knows only what the bundle says."""

    name = "estimate"

    def missing(self) -> str | None:
        return None

    def begin(self) -> float:
        return 0.0

    def spent(self, since: float, costs: Costs, samples: int) -> Spent:
        if not (costs.multiply_adds or costs.bytes_moved):
            return NOTHING_KNOWN
        return Spent(samples * joules_of(costs), Energy.ESTIMATED)


def joules_of(costs: Costs) -> float:
    """Of one sample, of costs that are whole."""
    picojoules = (
        costs.multiply_adds * PICOJOULES_PER_MULTIPLY_ADD[costs.bits]
        + costs.preparing_multiply_adds * PICOJOULES_PER_MULTIPLY_ADD[32]
        + costs.bytes_moved * PICOJOULES_PER_BYTE_MOVED
    )
    return picojoules * 1e-12


def radio_joules(amount_bytes: int, joules_per_byte: float) -> Spent:
    """Of sending or receiving: a radio's joules per byte are a setting (they differ by a thousand between Wi-Fi and
    LoRa); zero means not known."""
    if joules_per_byte <= 0.0:
        return NOTHING_KNOWN
    return Spent(amount_bytes * joules_per_byte, Energy.ESTIMATED)
