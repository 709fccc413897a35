"""Recordings and a release: whether they belong together, and putting into the release what was worked out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cascade.adapters.bundle_folder import LoadedRelease, open_bundle, open_release, tiers_of, write_calibrations
from cascade.adapters.bundle_folder import write_release as write_release_manifest
from cascade.errors import BundleRejected
from cascade.inference.recordings import ENCODING, BadRecording, Recordings
from cascade.inference.references import references_of
from cascade.release.bundle import BundleManifest, StageGate, StageSpec, Tier, stage_digest
from cascade.release.calibrated import Calibration
from cascade.release.ladder import GateSpec
from cascade.release.promise import ModelAbove, Promise, gates_digest
from cascade.release.reference import Reference
from cascade.release.segments import as_recorded, roots_of
from cloud_service.calibrating.fitting import CannotCalibrate
from cloud_service.calibrating.guarantee import ASSUMES, METHOD
from cloud_service.calibrating.working_out import Outcome, Place, Plan


class Opened(NamedTuple):
    """A release with all its tiers, stage by stage from the device up."""

    folder: Path
    parts: tuple[LoadedRelease, ...]
    places: tuple[Place, ...]
    gates: tuple[GateSpec, ...]
    calibrations: Mapping[Place, Calibration | None]


def open_all(folder: Path) -> Opened:
    """`BundleRejected` where the bundle of a tier is not here: thresholds are computed for the whole ladder."""
    tiers = tiers_of(folder)
    if not tiers:
        raise BundleRejected(f"{folder}: no bundle of any tier is here")
    parts = tuple(open_release(folder, tier) for tier in tiers)
    missing = sorted(set(parts[0].manifest.bundles) - set(tiers))
    if missing:
        raise BundleRejected(f"{folder}: no bundle of {', '.join(missing)} is here; thresholds are for a whole ladder")
    for below, above in pairwise(part.bundle.manifest for part in parts):
        _check_passed_on(below, above)
    stages = _stages(parts)
    gates: dict[Place, GateSpec] = {(entry.tier, entry.stage): entry.gate for entry in parts[0].manifest.gates}
    places: tuple[Place, ...] = tuple((manifest.tier, stage.name) for manifest, stage in stages)
    calibrations: dict[Place, Calibration | None] = {
        (manifest.tier, stage.name): stage.calibration for manifest, stage in stages
    }
    return Opened(folder, parts, places, tuple(gates[place] for place in places), calibrations)


def _check_passed_on(below: BundleManifest, above: BundleManifest) -> None:
    """What a tier goes on from and may pass on unanswered, the next must go on from as well. One that can't asks for
    the input; the device sends that, and inputs alone for a minute: who answers depends on when it is asked."""
    roots = roots_of(below.stages)
    lost = set(roots.values()) - set(roots_of(above.stages).values()) - {""}
    passing: list[Place] = [(below.tier, name) for name, root in roots.items() if root in lost]
    if passing:
        raise CannotCalibrate(
            f"{_listed(passing)} goes on from hidden features of a tier below, and no stage of {above.tier} does: what "
            "it can't answer is asked again with the input, and for a minute all else as well, so which stage is asked "
            f"depends on when. Give {above.tier} a stage that continues from the same segment, or leave this one out"
        )


def check_same(opened: Opened, recordings: Recordings) -> None:
    """`BadRecording` unless it was recorded with these very stages."""
    recorded = tuple((stage.tier, stage.name) for stage in recordings.stages)
    task = opened.parts[0].manifest.task
    if recordings.task != task:
        raise BadRecording(f"recorded for task {recordings.task}; the release is for {task}")
    if recorded != opened.places:
        raise BadRecording(
            f"recorded of the stages {_listed(recorded)}; the release has {_listed(opened.places)}: record it again"
        )
    digests: dict[Place, str] = {
        (manifest.tier, stage.name): stage_digest(stage, manifest) for manifest, stage in _stages(opened.parts)
    }
    others = [
        (stage.tier, stage.name) for stage in recordings.stages if stage.stage_digest != digests[stage.tier, stage.name]
    ]
    if others:
        raise BadRecording(f"{_listed(others)} of the release: other bytes than those recorded; record them again")
    for stage, (manifest, spec) in zip(recordings.stages, _stages(opened.parts), strict=True):
        if (stage.labels, stage.root) != (spec.labels, roots_of(manifest.stages)[spec.name]):
            raise BadRecording(f"{stage.tier}/{stage.name}: recorded with other labels or roots; record it again")


def adopt(opened: Opened, recordings: Recordings, outcome: Outcome, plan: Plan) -> str:
    """Write calibrations, gates and promise. Returns the release's new digest.

    The release's own manifest is written last and whole. Cut off before that, the release is refused at load, and
    doing it again mends it: recordings are bound to stages, which calibrations don't change.
    """
    for part in opened.parts:
        tier = part.bundle.manifest.tier
        mine = {name: each.calibration for (of, name), each in outcome.fitted.items() if of == tier}
        if mine:
            write_calibrations(part.bundle.folder, mine)
    gates = tuple(
        StageGate(tier=tier, stage=name, gate=gate)  # type: ignore[arg-type]  # the tiers are those of the release
        for (tier, name), gate in zip(opened.places, outcome.gates, strict=True)
    )
    manifest = opened.parts[0].manifest
    promise = None if outcome.guarantee is None else _promise(opened, recordings, outcome, plan, gates)
    return write_release_manifest(
        opened.folder,
        manifest.name,
        manifest.task,
        gates,
        promise,
        references=_references(opened, outcome),
        care=manifest.care,
        timings=manifest.timings,
    )


def _references(opened: Opened, outcome: Outcome) -> tuple[Reference, ...]:
    """Of the samples on which the promise was tested: hops compare with these."""
    if outcome.guarantee is None:
        return ()
    bundles: dict[str, str] = {
        part.bundle.manifest.tier: open_bundle(part.bundle.folder).digest for part in opened.parts
    }
    return references_of(outcome.guarantee.scored.recordings, outcome.gates, bundles)


def _promise(
    opened: Opened, recordings: Recordings, outcome: Outcome, plan: Plan, gates: Sequence[StageGate]
) -> Promise:
    found = outcome.guarantee
    assert found is not None
    ladder: dict[Tier, str] = {
        part.bundle.manifest.tier: open_bundle(part.bundle.folder).digest for part in opened.parts
    }
    models = tuple(
        ModelAbove(tier=part.bundle.manifest.tier, stage=stage.name, model=stage.model)
        for part in opened.parts
        for stage in part.ladder.stages
    )
    return Promise(
        targets=tuple(target.text or target.kind for target in plan.targets),
        confidence=plan.confidence,
        method=METHOD,
        assumes=assumed(plan, _encoding(recordings)),
        samples=found.samples,
        ladder=ladder,
        models=models,
        gates_digest=gates_digest(gates),
        recordings=recordings.digest,
        seen=found.seen,
        answered=found.scored.tier_shares(),  # type: ignore[arg-type]  # the tiers are those of the release
    )


def assumed(plan: Plan, encoding: str = "") -> str:
    """With what was said of the field and nobody can check. `encoding`: where it decides what goes up."""
    said = [ASSUMES]
    if encoding:
        said.append(f"inputs and hidden features, of which the smaller goes up, have the encoding {encoding}")
    if plan.without:
        said.append(f"no sample of the field is of {', '.join(plan.without)}")
    if plan.repeats:
        said.append("samples repeat in the field as often as they were recorded")
    return "; ".join(said)


def _encoding(recordings: Recordings) -> str:
    goes_on = any(stage.root for stage in recordings.stages)
    return recordings.notes.get(ENCODING, "zlib") if goes_on else ""


def _stages(parts: Sequence[LoadedRelease]) -> list[tuple[BundleManifest, StageSpec]]:
    """As recordings have them."""
    return [(part.bundle.manifest, stage) for part in parts for stage in as_recorded(part.bundle.manifest.stages)]


def _listed(places: Sequence[Place]) -> str:
    return ", ".join(f"{tier}/{name}" for tier, name in places)
