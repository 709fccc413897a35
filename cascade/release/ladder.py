"""A ladder: the stages of one hop for one task, each with its gate, in the order in which they are tried."""

from __future__ import annotations

from cascade.messages import Word


class Deferral(Word, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a `deferral` gate has learned: two logistic models over the same numbers of a prediction and its input.
    Which numbers, in which order, `cascade.inference.gates.deferral` says."""

    gain: tuple[float, ...]
    """Weights of: the hop above is right where this stage is wrong."""
    loss: tuple[float, ...]
    """Weights of: it is the other way round."""
    cues: int = 0
    """How many cues of the input are among the numbers."""


class GateSpec(Word, frozen=True, gc=False):
    """Which gate, with which threshold. Read by `cascade.inference.gate`."""

    name: str
    threshold: float | None = None
    drop: tuple[str, ...] = ()
    """Labels that mean "nothing here": a sure one of these is dropped instead of answered."""
    deferral: Deferral | None = None
    """Of a `deferral` gate: what it has learned."""


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
    models_above: tuple[str, ...] = ()
    """Short digests of the models above for which the thresholds carry a guarantee. Empty: they carry none. An answer
    whose trail names another one above comes from a ladder of which nothing is known."""
