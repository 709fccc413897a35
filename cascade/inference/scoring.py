"""Scoring a ladder on recordings: who would have answered what, and what it would have cost.

Through the very gates that run: a stage's measure is read once from every prediction, and thresholds are then tried on
arrays. What comes out is what `Gate.decide` says one by one (a property test holds them together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.inference.gate import Gate
from cascade.inference.recordings import (
    BadRecording,
    Recordings,
    StageRecord,
    readable_samples,
    readable_scores,
    said_labels,
)
from cascade.release.ladder import GateSpec, LadderStage

Array = npt.NDArray[Any]

NOBODY, UNKNOWN = -1, -2
"""Instead of the number of a stage: nobody could answer; a stage was reached that the recording has not."""


@dataclass(frozen=True, eq=False)
class Weighed:
    """A stage's record, as its gate measures it."""

    record: StageRecord
    gate: Gate
    values: Array
    readable: Array

    def sure(self, threshold: float | None) -> Array:
        """Where the gate is sure; a NaN is on no side. As `Gate` itself asks."""
        if threshold is None:
            found = np.full(len(self.values), self.gate.measure.sure_of_all)
        else:
            found = self.values <= threshold if self.gate.measure.sure_below else self.values >= threshold
        return np.asarray(found & self.readable)


def weighed(record: StageRecord, spec: GateSpec) -> Weighed:
    """`BundleRejected` for a gate that the stage can't have."""
    gate = Gate(LadderStage(name=record.name, kind=record.kind, gate=spec, labels=record.labels, model=record.model))
    at_once = getattr(gate.measure, "of_all", None)
    if record.kind == "classes" and at_once is not None:
        scores = record.columns["scores"].astype(np.float64)
        readable = readable_scores(scores)
        values = np.full(len(scores), np.nan)
        values[readable] = at_once(scores[readable])
        return Weighed(record, gate, values, readable)
    return _one_by_one(record, gate)


def _one_by_one(record: StageRecord, gate: Gate) -> Weighed:
    predictions = [record.prediction(index) for index in range(record.samples)]
    readable = np.array([prediction.readable() for prediction in predictions], bool)
    values = np.array(
        [gate.measure.of(each) if fine else np.nan for each, fine in zip(predictions, readable, strict=True)], float
    )
    return Weighed(record, gate, values, readable)


@dataclass(frozen=True, eq=False)
class Scored:
    """A ladder on recordings, sample by sample."""

    recordings: Recordings
    answered_by: Array
    """Number of the stage whose word is the answer; `NOBODY`, `UNKNOWN`."""
    reached: Array
    """Stage by sample: whether it was run."""

    @cached_property
    def said(self) -> Array:
        """Which label is the answer, as in `Recordings.label`; -2: none of them."""
        said = np.full(self.recordings.samples, -2)
        for number, stage in enumerate(self.recordings.stages):
            mine = self.answered_by == number
            said[mine] = said_labels(stage, self.recordings.label_names)[mine]
        return said

    @cached_property
    def right(self) -> Array:
        """1, 0, or NaN where the label or the answer is not known. Who got no answer got none that is right."""
        right: Array = (self.said == self.recordings.label).astype(float)
        right[(self.recordings.label < 0) | (self.answered_by == UNKNOWN)] = np.nan
        return right

    @cached_property
    def asked_above(self) -> Array:
        """Per sample: on how many links it climbed."""
        return np.asarray(self._crossings.sum(axis=0))

    @cached_property
    def device_bytes(self) -> Array:
        """Per sample: what the lowest tier sent up."""
        return self._sent[0] if self._sent else np.zeros(self.recordings.samples, int)

    @cached_property
    def all_bytes(self) -> Array:
        return np.asarray(sum(self._sent, np.zeros(self.recordings.samples, int)))

    @cached_property
    def device_joules(self) -> Array:
        """Per sample: of the models of the lowest tier; a radio's are the bytes times its own figure."""
        lowest = self.recordings.stages[0].tier
        return self._summed("joules", [stage.tier == lowest for stage in self.recordings.stages])

    @cached_property
    def all_joules(self) -> Array:
        return self._summed("joules", [True] * len(self.recordings.stages))

    @cached_property
    def model_ms(self) -> Array:
        """Per sample: milliseconds in models, without links and queues."""
        return self._summed("ms", [True] * len(self.recordings.stages))

    def shares(self) -> dict[str, float]:
        """How much each stage answers, by `tier/stage`; `nobody` and `unknown` where there are such."""
        names = [f"{stage.tier}/{stage.name}" for stage in self.recordings.stages]
        shares = {name: float((self.answered_by == number).mean()) for number, name in enumerate(names)}
        others = {"nobody": NOBODY, "unknown": UNKNOWN}
        rest = {name: float((self.answered_by == code).mean()) for name, code in others.items()}
        return shares | {name: share for name, share in rest.items() if share}

    def tier_shares(self) -> dict[str, float]:
        shares: dict[str, float] = {}
        for number, stage in enumerate(self.recordings.stages):
            shares[stage.tier] = shares.get(stage.tier, 0.0) + float((self.answered_by == number).mean())
        return shares

    @cached_property
    def _crossings(self) -> Array:
        """Link by sample. A question that reaches a stage of a tier has climbed the link below it."""
        tiers = [stage.tier for stage in self.recordings.stages]
        of_tier = [[number for number, each in enumerate(tiers) if each == tier] for tier in dict.fromkeys(tiers)]
        climbed = [self.reached[numbers].any(axis=0) for numbers in of_tier[1:]]
        return np.array(climbed, bool).reshape(-1, self.recordings.samples)

    @cached_property
    def _sent(self) -> list[Array]:
        """By link: per sample, what went up."""
        sizes = self.recordings.crossings.link_bytes
        return [np.where(climbed, size, 0) for climbed, size in zip(self._crossings, sizes, strict=True)]

    def _summed(self, column: str, which: Sequence[bool]) -> Array:
        parts = [
            np.where(self.reached[number], np.nan_to_num(getattr(stage, column)), 0.0)
            for number, stage in enumerate(self.recordings.stages)
            if which[number]
        ]
        return np.asarray(np.sum(parts, axis=0))


def climb(recordings: Recordings, stages: Sequence[Weighed], thresholds: Sequence[float | None]) -> Scored:
    """Let every sample climb, past the stages that go on from what it doesn't bring. The topmost stage answers whether
    it is sure or not; what it can't read falls back to the last readable word below, as a hop above that has nothing
    leaves the hop below with its own guess."""
    samples, crossings = recordings.samples, recordings.crossings
    answered_by = np.full(samples, NOBODY)
    is_open = np.ones(samples, bool)
    guess = np.full(samples, NOBODY)
    reached = np.zeros((len(stages), samples), bool)
    for number, (stage, threshold) in enumerate(zip(stages, thresholds, strict=True)):
        comes = crossings.comes[number]
        here = is_open if comes is None else is_open & comes
        missing = here & ~stage.record.ran
        answered_by[missing] = UNKNOWN
        is_open = is_open & ~missing
        here = here & ~missing
        reached[number] = here
        guess[here & stage.readable] = number
        stops = here & (stage.readable if crossings.ends[number] else stage.sure(threshold))
        answered_by[stops] = number
        is_open = is_open & ~stops
    answered_by[is_open] = guess[is_open]
    return Scored(recordings, answered_by, reached)


def top_alone(climbed: Scored) -> Scored:
    """Of everything that climbed: what the top would have said of the input, also where it was not the input that came.
    Hidden features are rounded, and what goes on from them may be another network."""
    recordings = climbed.recordings
    top, comes = recordings.stages[-1], recordings.crossings.comes[-1]
    if comes is None:
        return climbed
    says = top.ran & readable_samples(top)
    return replace(climbed, answered_by=np.where(says, len(recordings.stages) - 1, climbed.answered_by))


def score(recordings: Recordings, gates: Sequence[GateSpec]) -> Scored:
    """The ladder of these gates, one for each recorded stage from the device up."""
    if len(gates) != len(recordings.stages):
        raise BadRecording(f"{len(gates)} gates for {len(recordings.stages)} recorded stages")
    stages = [weighed(record, gate) for record, gate in zip(recordings.stages, gates, strict=True)]
    return climb(recordings, stages, [stage.gate.threshold for stage in stages])


def with_threshold(spec: GateSpec, threshold: float) -> GateSpec:
    """The same gate at another threshold."""
    return GateSpec(spec.name, threshold, spec.drop, spec.deferral)
