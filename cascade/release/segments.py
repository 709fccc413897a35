"""Models in segments: what one stage hands to the next of the same model, and what may go up in place of the input.

A model with several exits is a bundle of segments, each a stage with a gate of its own. Between two of them are hidden
features: a segment takes them from the one before (`InputSpec.segment`), or from a segment of the tier below, which
its digest names (`InputSpec.continues`), where that sent them because they were smaller (`StageSpec.sends`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from cascade.messages import HIDDEN_DIGEST_BYTES
from cascade.release.features import Feature, shape_after
from cascade.release.words import Described

if TYPE_CHECKING:
    from cascade.release.bundle import InputSpec, StageSpec

MAX_SENT = 16


class SentSpec(Described, frozen=True):
    """Hidden features that may go up: one output of the segment, and how it is made small."""

    output: str
    """Of the model, and the name of the tensor that travels."""
    shape: tuple[Annotated[int, Meta(ge=1)], ...]
    """Of one sample, as the model gives it."""
    features: tuple[Feature, ...] = ()
    """As `quantise`: what is done to it before it is compressed. Who goes on from there undoes it."""


def before(stage: StageSpec) -> str:
    """The stage whose hidden features it takes; empty where it takes the input, or those of a segment below."""
    return next((spec.segment for spec in stage.inputs if spec.segment), "")


def continues(stage: StageSpec) -> bytes:
    """Of the segment below from which it goes on; empty where it doesn't."""
    return next((travelling(spec.continues) for spec in stage.inputs if spec.continues), b"")


def roots_of(stages: Sequence[StageSpec]) -> dict[str, str]:
    """What each stage of a bundle goes back to: a segment of a tier below, by its digest; empty: the input."""
    roots: dict[str, str] = {}
    for stage in stages:
        below = next((spec.continues for spec in stage.inputs if spec.continues), "")
        roots[stage.name] = below or roots.get(before(stage), "")
    return roots


def as_recorded(stages: Sequence[StageSpec]) -> list[StageSpec]:
    """The order in which recordings have the stages of a bundle: those that go back to a segment below come first. No
    question comes to both kinds, so any order would do; with this one the last stage of all is the top of the ladder
    that takes the input, which is what promises compare with."""
    roots = roots_of(stages)
    return sorted(stages, key=lambda stage: not roots[stage.name])


def travelling(digest: str) -> bytes:
    """A digest as questions carry it: enough of it to tell apart all segments that will ever be."""
    return bytes.fromhex(digest)[:HIDDEN_DIGEST_BYTES]


def handed_on(stage: StageSpec, stages: Sequence[StageSpec]) -> dict[str, tuple[int, ...]]:
    """The outputs of a stage that others take or that may be sent, each with the shape of one sample."""
    taken = {
        spec.tensor: spec.shape
        for other in stages
        for spec in other.inputs
        if spec.segment and before(other) == stage.name
    }
    return taken | {each.output: each.shape for each in stage.sends}


def segment_mistakes(stages: Sequence[StageSpec]) -> Iterator[str]:
    """What is wrong with how the stages of a bundle hang together."""
    if stages and continues(stages[0]):
        yield f"stage {stages[0].name}: the first stage takes the input, which any question may bring"
    earlier: dict[str, StageSpec] = {}
    for stage in stages:
        for mistake in _mistakes(stage, earlier):
            yield f"stage {stage.name}: {mistake}"
        earlier[stage.name] = stage


def _mistakes(stage: StageSpec, earlier: Mapping[str, StageSpec]) -> Iterator[str]:
    named = {spec.segment for spec in stage.inputs if spec.segment} | {
        spec.continues for spec in stage.inputs if spec.continues
    }
    if len(named) > 1:
        yield "it goes on from one segment, not from several"
    parent = before(stage)
    if parent and parent not in earlier:
        yield f"it goes on from {parent}, which is no earlier stage"
    elif (continues(stage) or _goes_on_from_below(parent, earlier)) and any(map(_from_input, stage.inputs)):
        yield "it goes on from a segment below, with whose features no input comes"
    yield from _shape_mistakes(stage, earlier.get(parent))
    yield from _sending_mistakes(stage)


def _shape_mistakes(stage: StageSpec, parent: StageSpec | None) -> Iterator[str]:
    sent = {each.output: each.shape for each in parent.sends} if parent is not None else {}
    for spec in stage.inputs:
        if spec.segment and (spec.features or spec.value is not None or spec.carried or spec.continues):
            yield f"input {spec.tensor}: hidden features are taken as they are, and from one place"
        elif spec.continues and (spec.value is not None or spec.carried):
            yield f"input {spec.tensor}: what is in the question is no value and no carried state"
        elif spec.segment and sent.get(spec.tensor, spec.shape) != spec.shape:
            yield f"input {spec.tensor}: of shape {spec.shape}, and sent as {sent[spec.tensor]}"


def _sending_mistakes(stage: StageSpec) -> Iterator[str]:
    if len({each.output for each in stage.sends}) != len(stage.sends) or len(stage.sends) > MAX_SENT:
        yield f"it sends at most {MAX_SENT} outputs, each once"
    for each in stage.sends:
        try:
            math.prod(shape_after(each.features, each.shape))
        except ValueError as error:
            yield f"sent output {each.output}: {error}"


def _goes_on_from_below(name: str, stages: Mapping[str, StageSpec]) -> bool:
    return bool(roots_of(tuple(stages.values())).get(name))


def _from_input(spec: InputSpec) -> bool:
    return spec.asked and not spec.continues
