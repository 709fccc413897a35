"""An alarm with a stated rate of false ones, however often it is looked at: a sum of bets that nothing is wrong.

Each case falls into one of a few outcomes. A bet pays by outcome, and so that while nothing is wrong nobody wins on it
in the long run: its mean pay is at most 1. Stakes that keep growing are evidence that something is. Here a new bet is
opened with each round and all that is won stays in (the Shiryaev-Roberts sum; as an "e-detector" by Shin, Ramdas and
Rinaldo, 2022). While nothing is wrong the sum grows by 1 a round at most on average, so that it takes `rounds` rounds
or more, on average, to come to `rounds`: there the alarm is. That holds for every number of samples, with no table.

"Nothing is wrong" is not one distribution: recorded shares are known from so many samples only, and no field is its
recording. So bets are made fair for the worst that chance and a tolerance may have done to the shares.
What is assumed: one case doesn't depend on the one before. Frames of one scene do; see docs/careful.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NATS = 5.0
"""How sure recorded shares are taken to be: the true mean of a bet is higher in 1 recording of e to the power of it."""
_DIGITS = 1e6
"""Bets are cut to so many steps: another machine's exponential must not make another decision of the same journal."""


class Detector:
    """Several kinds of bets, because nobody knows what will go wrong. Only multiplies and adds: it replays exactly."""

    def __init__(self, bets: Array, rounds: float) -> None:
        """`bets`: what each kind pays, outcome by kind, of which each mean is at most 1 while nothing is wrong."""
        self._bets = bets
        self._rounds = rounds
        self._sums = np.zeros(bets.shape[1])

    def alarmed(self, outcomes: Array) -> bool:
        """One round, of one case or several. After an alarm it begins anew."""
        paid = np.multiply.reduce(self._bets[outcomes], axis=0)
        self._sums = (self._sums + 1.0) * paid
        if self.evidence < self._rounds:
            return False
        self._sums = np.zeros(len(self._sums))
        return True

    @property
    def evidence(self) -> float:
        """What bets have won on average, as it stands. At `rounds` there is an alarm."""
        return float(np.add.reduce(self._sums)) / len(self._sums)


def fair(pays: Array, shares: Array, samples: int, tolerance: float) -> Array:
    """Scale each kind of bet (outcome by kind) so that its mean is at most 1 while nothing is wrong.

    Its mean over the recorded shares; by so much more as chance may have hidden in so many samples (Bernstein's bound);
    and with the tolerance, a share of all cases, moved from where it pays least to where it pays best.
    """
    mean = shares @ pays
    widest = pays.max(axis=0) - pays.min(axis=0)
    variance = np.maximum(shares @ (pays - mean) ** 2, 0.0)
    by_chance = np.sqrt(2.0 * NATS * variance / samples) + NATS * widest / (3.0 * samples)
    worst = np.minimum(mean + by_chance + tolerance * widest, pays.max(axis=0))
    return np.asarray(np.floor(pays / worst * _DIGITS) / _DIGITS)


def bets_that_more_fail(share: float) -> Array:
    """For two outcomes, fine and failed (0 and 1): bets that more than this share fail. A few sizes of "more".

    The ratio of chances of two such shares pays the less the fewer fail, so it is fair for every share below as well.
    """
    share = min(max(share, 1e-4), 0.999)
    more = np.array([share + (1.0 - share) * part for part in (0.03, 0.1, 0.25, 0.5)])
    pays = np.stack([(1.0 - more) / (1.0 - share), more / share])
    return np.asarray(np.floor(pays * _DIGITS) / _DIGITS)
