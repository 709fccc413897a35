"""A ladder: the stages of one hop for one task, each with its gate, in the order in which they are tried."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from cascade.messages import Word
from cascade.release.reference import Reference


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


class Care(Word, frozen=True, gc=False, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a hop does when the guarantee of its thresholds no longer holds: the rails of thresholds that move."""

    most: Annotated[float, Meta(ge=1, le=1e6)] = 10.0
    """At its most careful a gate allows this many times less doubt: a confidence of 0.9 becomes 0.99. 1: thresholds
    never move, and only the state is told."""
    step: Annotated[float, Meta(gt=0, le=1)] = 0.25
    """Largest part of that way in 16 questions, while there is a doubt."""
    ease: Annotated[float, Meta(gt=0, le=1)] = 0.05
    """Part of the way back in 16 questions, when there is none any more."""
    seldom: Annotated[float, Meta(ge=100, le=1e9)] = 20_000.0
    """Questions between two false alarms of drift, on average and at least; of a fall of agreement, a tenth as many
    audits."""
    calm: Annotated[int, Meta(ge=16, le=1_000_000)] = 512
    """Questions without a new alarm after which a doubt is over; a quarter as many audits, an eighth as many answers
    from above."""


class Timing(Word, frozen=True, gc=False, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a hop makes of the time that a question has left."""

    worth_asking: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    """The hop above is not asked where the chance that its answer comes by the deadline is smaller. 0: always asked."""
    provisional_at: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Share of a question's time after which the best guess is given, provisionally, and the answer from above follows
    as a correction. 1: at the deadline, and to those alone who want corrections."""


class StreamTiming(Word, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a stream wants otherwise than the ladder. None: as the ladder says."""

    worth_asking: float | None = None
    provisional_at: float | None = None

    def over(self, ladder: Timing) -> Timing:
        return Timing(
            worth_asking=ladder.worth_asking if self.worth_asking is None else self.worth_asking,
            provisional_at=ladder.provisional_at if self.provisional_at is None else self.provisional_at,
        )


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
    cues: tuple[str, ...] = ()
    """Names of the cheap numbers of its inputs that its predictions carry."""
    reference: Reference | None = None
    """How its numbers were distributed where the thresholds were found."""
    after: str = ""
    """The stage of the same model whose hidden features it takes: it is the next segment."""
    continues: bytes = b""
    """The segment below whose hidden features it takes: only questions that bring these enter here."""
    sends: bool = False
    """Its hidden features may go up in place of the input, where they are smaller."""


class Ladder(Word, frozen=True, gc=False, kw_only=True):
    """What one hop runs for one task under one release. Without stages everything climbs."""

    task: str
    release: str
    stages: tuple[LadderStage, ...] = ()
    models_above: tuple[str, ...] = ()
    """Short digests of the models above for which the thresholds carry a guarantee. Empty: they carry none. An answer
    whose trail names another one above comes from a ladder of which nothing is known."""
    care: Care = Care()
    timing: Timing = Timing()
