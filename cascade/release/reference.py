"""What a stage's numbers looked like where its thresholds were found: what a running hop compares with.

Recorded shares of outcomes, not samples: some hundred bytes per stage. A reference is of one bundle and one kind of
gate: recompressing the model or fitting it anew moves its confidences, and a reference of other bytes is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from typing import Annotated, Any

import msgspec

from cascade.release.words import Count, Described, Name, Sha256, Tier

MOST_EDGES = 64

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Shape(Described, frozen=True):
    """How often a number fell between which edges."""

    edges: Annotated[tuple[float, ...], msgspec.Meta(max_length=MOST_EDGES)]
    """Rising. A number that equals an edge lies above it."""
    counts: tuple[Count, ...]
    """One more than edges; and a last one for what was no number."""

    @property
    def samples(self) -> int:
        return sum(self.counts)


class Reference(Described, frozen=True):
    """One stage of one tier."""

    tier: Tier
    stage: Name
    bundle: Sha256
    """The manifest's digest of the bundle that was recorded."""
    gate: str
    """Whose measure the confidences are."""
    confidence: Shape
    cues: tuple[Shape, ...] = ()
    """Of each of the stage's cues: cheap numbers of its input."""
    agreement: Share | None = None
    """Of what this tier settles, at least this share is what the hop above says: as recorded, less what chance may take
    from it."""
    tolerance: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.01
    """So large a share of questions may be other ones in the field, beyond what chance does, without being called
    drift."""


def shape_mistakes(shape: Shape) -> list[str]:
    if not all(map(isfinite, shape.edges)) or not all(a < b for a, b in pairwise(shape.edges)):
        return ["edges that don't rise"]
    if len(shape.counts) != len(shape.edges) + 2:
        return [f"{len(shape.counts)} counts for {len(shape.edges)} edges, where {len(shape.edges) + 2} are expected"]
    return [] if shape.samples else ["a shape of no samples"]


def reference_mistakes(references: tuple[Reference, ...], bundles: Mapping[Tier, str], gates: Any) -> list[str]:
    """Why references are not of this release. `gates` are its `StageGate`s. Empty: they are."""
    measures = {(entry.tier, entry.stage): entry.gate.name for entry in gates}
    mistakes = []
    for each in references:
        where = f"the reference of {each.tier}/{each.stage}"
        if bundles.get(each.tier) != each.bundle:
            mistakes.append(f"{where} is of another bundle: calibrate again")
        elif measures.get((each.tier, each.stage)) != each.gate:
            mistakes.append(f"{where} is of a gate {each.gate!r}, which the stage has not: calibrate again")
        mistakes += [
            f"{where}: {mistake}" for shape in (each.confidence, *each.cues) for mistake in shape_mistakes(shape)
        ]
    if len({(each.tier, each.stage) for each in references}) != len(references):
        mistakes.append("a stage has two references")
    return mistakes
