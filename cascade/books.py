"""The books of a hop: what its metrics say became of the questions. Every end-to-end test asks that they balance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cascade import metrics
from cascade.metrics import Reading


class Books(NamedTuple):
    """What became of the questions that a hop was asked. The law: none is missing, and none ends twice."""

    asked: float
    answered: float
    dropped: float
    expired: float
    refused: float
    parked: float
    open: float

    @property
    def balanced(self) -> bool:
        """A parked one comes back as one more that was asked, so leaving memory ends it here."""
        return self.asked == sum(self[1:])


def books(readings: Iterable[Reading]) -> Books:
    """The books of one hop, from its snapshot. Not right where `cascade_untracked_questions_total` isn't 0."""
    sums: dict[str, float] = dict.fromkeys(
        ("asked", "answered", "dropped", "expired", "refused", "parked", "open"), 0.0
    )
    titles = {metrics.ASKED: "asked", metrics.PARKED: "parked", metrics.OPEN: "open"}
    for reading in readings:
        if reading.row is metrics.ANSWERS:
            said = dict(zip(reading.row.labels, reading.labels, strict=True))
            if said["given"] != "provisional":
                sums[said["outcome"]] += reading.value
        elif reading.row in titles:
            sums[titles[reading.row]] += reading.value
    return Books(**sums)
