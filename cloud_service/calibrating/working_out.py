"""From recordings and targets to gates, calibrations and a promise: the steps of `cascade calibrate`, in their order.

What is fitted is fitted on one part of the samples, and thresholds are tested on the rest: a guarantee that was tested
on what the gates had learned from would be none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from cascade.inference.recordings import Recordings, StageRecord
from cascade.inference.scoring import with_threshold
from cascade.release.calibrated import Calibration
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.deferring import deferral_gate, fit_deferral
from cloud_service.calibrating.fitting import CannotCalibrate, Fitted, fit
from cloud_service.calibrating.guarantee import LEARN_SHARE as ORDER_SHARE
from cloud_service.calibrating.guarantee import CannotPromise, Guarantee, guarantee, split
from cloud_service.calibrating.support import not_without
from cloud_service.calibrating.targets import Circumstances, Target

FIT_SHARE = 0.3
Place = tuple[str, str]
"""Tier and stage."""


class Plan(NamedTuple):
    """What is wanted."""

    targets: tuple[Target, ...] = ()
    confidence: float = 0.9
    circumstances: Circumstances = Circumstances()
    method: str = ""
    """Of calibration, for every stage of class scores; empty: as they are."""
    deferral: bool = False
    """Learn gates, in place of those below the top that read class scores."""
    without: tuple[str, ...] = ()
    repeats: bool = False
    """The field's samples repeat as the recorded ones do."""
    learn_share: float | None = None
    """Of samples, to learn on. None: `FIT_SHARE` where something is fitted, less where only an order is learned."""
    seed: int = 0


class Outcome(NamedTuple):
    """What came of it."""

    gates: tuple[GateSpec, ...]
    fitted: Mapping[Place, Fitted]
    guarantee: Guarantee | None
    learned_on: int
    """Samples that were set apart to learn on."""


def work_out(
    recordings: Recordings, calibrations: Mapping[Place, Calibration | None], gates: Sequence[GateSpec], plan: Plan
) -> Outcome:
    """`calibrations` and `gates` are those of the release. `CannotCalibrate` or `CannotPromise` where it can't be."""
    mistakes = not_without(recordings, plan.without)
    if mistakes:
        raise CannotPromise("; ".join(mistakes))
    learn: Recordings | None = None
    test = recordings
    if plan.targets and (plan.method or plan.deferral):
        learn, test = split(recordings, plan.learn_share or FIT_SHARE, plan.seed)
    source = learn or recordings
    fitted = _fitted(source, plan)
    bends = {**calibrations, **{place: each.calibration for place, each in fitted.items()}}
    source, test = _bent(source, bends), _bent(test, bends)
    if plan.deferral:
        gates = _learned_gates(source, gates, plan)
    if not plan.targets:
        return Outcome(tuple(gates), fitted, None, source.samples)
    found = guarantee(
        test,
        _without_ends(test, gates),
        plan.targets,
        plan.confidence,
        plan.circumstances,
        learn=source if learn is not None else None,
        seed=plan.seed,
        without=plan.without,
        learn_share=plan.learn_share or ORDER_SHARE,
        repeats=plan.repeats,
    )
    chosen = tuple(
        gate if threshold is None or threshold == gate.threshold else with_threshold(gate, threshold)
        for gate, threshold in zip(gates, found.thresholds, strict=True)
    )
    return Outcome(chosen, fitted, found, recordings.samples - found.samples)


def _without_ends(recordings: Recordings, gates: Sequence[GateSpec]) -> list[GateSpec]:
    """Beside the top some stages have nobody above for who comes to them: there is no threshold of theirs to choose."""
    *below, top = zip(gates, recordings.crossings.ends, strict=True)
    return [GateSpec("always") if ends else gate for gate, ends in below] + [top[0]]


def _fitted(recordings: Recordings, plan: Plan) -> dict[Place, Fitted]:
    if not plan.method:
        return {}
    stages = [stage for stage in recordings.stages if stage.kind == "classes" and len(stage.labels) > 1]
    if not stages:
        raise CannotCalibrate("no stage gives scores of two or more labels: there is nothing to calibrate")
    return {
        (stage.tier, stage.name): fit(recordings, stage, plan.method, without=plan.without, seed=plan.seed)
        for stage in stages
    }


def _bent(recordings: Recordings, calibrations: Mapping[Place, Calibration | None]) -> Recordings:
    def bent(stage: StageRecord) -> StageRecord:
        return stage.bent(calibrations.get((stage.tier, stage.name)))

    return replace(recordings, stages=tuple(bent(stage) for stage in recordings.stages))


def _learned_gates(recordings: Recordings, gates: Sequence[GateSpec], plan: Plan) -> tuple[GateSpec, ...]:
    top = recordings.stages[-1]
    learned = [
        deferral_gate(fit_deferral(recordings, stage, top, plan.seed), gate)
        if stage.kind == "classes" and not ends and gate.name not in ("always", "never")
        else gate
        for stage, ends, gate in zip(recordings.stages, recordings.crossings.ends, gates, strict=True)
    ]
    if all(each is gate for each, gate in zip(learned, gates, strict=True)):
        raise CannotPromise("no gate below the top reads class scores: there is nothing to learn")
    return tuple(learned)
