"""Which stages a recorded sample comes to, and what crosses each link for it: its input, or hidden features of it.

Below a link a question that climbs has been through all stages of its tier that go on from what it brought there: what
may go up is that of the last one that sends, whatever the thresholds are. So it is known of each sample from its sizes
alone by which stages it climbs, and thresholds only say how far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cascade.inference.recordings import StageRecord

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Crossings:
    """Of all samples of a recording."""

    comes: tuple[Array | None, ...]
    """Per stage: who gets there if nobody below is sure. None: all."""
    ends: tuple[bool, ...]
    """Per stage: whether nobody is above for who gets there."""
    link_bytes: tuple[Array, ...]
    """Per link, from the device up, and sample: its message."""


def crossings_of(stages: Sequence[StageRecord], input_bytes: Array) -> Crossings:
    """Of the stages of a recording. Where none above goes on from what would go, a hop above asks for the input, and
    for a while it goes at once."""
    ends = tuple(_ends(number, stages) for number in range(len(stages)))
    tiers = list(dict.fromkeys(stage.tier for stage in stages))
    if not any(stage.root or stage.sent_bytes is not None for stage in stages):
        return Crossings((None,) * len(stages), ends, (input_bytes,) * (len(tiers) - 1))
    names = {"": 0} | {stage.stage_digest: number for number, stage in enumerate(stages, 1)}
    brought, size = np.zeros(len(input_bytes), int), input_bytes
    comes: list[Array | None] = []
    links: list[Array] = []
    for tier, above in pairwise([*tiers, ""]):
        here = [(stage, brought == names.get(stage.root, -1)) for stage in stages if stage.tier == tier]
        comes += [there for _, there in here]
        known = {stage.root for stage in stages if stage.tier == above}
        taken_on = np.isin(brought, [names[root] for root in known if root in names])
        brought, size = np.where(taken_on, brought, 0), np.where(taken_on, size, input_bytes)
        for stage, sent in _going(here, known):
            brought, size = np.where(sent > 0, names[stage.stage_digest], brought), np.where(sent > 0, sent, size)
        links.append(size)
    return Crossings(tuple(comes), ends, tuple(links[:-1]))


def sent_in_vain(stages: Sequence[StageRecord]) -> list[str]:
    """Who sends hidden features up from which no stage of the next tier goes on."""
    tiers = list(dict.fromkeys(stage.tier for stage in stages))
    roots = {tier: {stage.root for stage in stages if stage.tier == tier} for tier in tiers}
    return [
        f"{stage.tier}/{stage.name}"
        for below, above in pairwise(tiers)
        for stage in stages
        if stage.tier == below and stage.sent_bytes is not None and stage.stage_digest not in roots[above]
    ]


def _going(here: Sequence[tuple[StageRecord, Array]], known: set[str]) -> Iterator[tuple[StageRecord, Array]]:
    for stage, there in here:
        if stage.sent_bytes is not None and stage.stage_digest in known:
            yield stage, np.where(there, stage.sent_bytes, 0)


def _ends(number: int, stages: Sequence[StageRecord]) -> bool:
    """Of the highest tier, the last of those that go back to the same."""
    mine = stages[number]
    later = [stage for stage in stages[number + 1 :] if stage.root == mine.root]
    return mine.tier == stages[-1].tier and not later
