"""A ladder: the stages of one hop for one task, each with its gate, in the order in which they are tried."""

from __future__ import annotations

from cascade.messages import Word


class GateSpec(Word, frozen=True, gc=False):
    """Which gate, with which threshold. Read by `cascade.inference.gate`."""

    name: str
    threshold: float | None = None
    drop: tuple[str, ...] = ()
    """Labels that mean "nothing here": a sure one of these is dropped instead of answered."""


class LadderStage(Word, frozen=True, gc=False, kw_only=True):
    """A model (or a segment of one) behind a gate."""

    name: str
    kind: str
    """Which of the four predictions it makes: a key of `PREDICTION_KINDS`."""
    gate: GateSpec
    model: str = ""
    """The first characters of the model file's digest, for the trail."""
    labels: tuple[str, ...] = ()
    max_batch: int = 64


class Ladder(Word, frozen=True, gc=False, kw_only=True):
    """What one hop runs for one task under one release. Without stages everything climbs."""

    task: str
    release: str
    stages: tuple[LadderStage, ...] = ()
