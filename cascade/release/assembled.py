"""A release and the bundle of one tier, put together: whether they belong to each other, and the ladder they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from cascade.errors import BundleRejected
from cascade.release.bundle import TIERS, BundleManifest, ReleaseManifest, StageSpec, Tier, stage_digest
from cascade.release.ladder import Ladder, LadderStage, Timing
from cascade.release.segments import as_recorded, before, continues, roots_of

SHORT_DIGEST = 12
"""Characters of a digest that stand for it in trails and names: enough to tell apart all that a fleet ever runs."""


def release_id(release: ReleaseManifest, digest: str) -> str:
    """What questions carry. With the digest: a release published twice under one name is two ladders, and a hop that
    has the other one must not answer as if the thresholds were still fitted together."""
    return f"{release.name[: 63 - SHORT_DIGEST]}-{digest[:SHORT_DIGEST]}"


def check_together(release: ReleaseManifest, tier: Tier, bundle: BundleManifest, where: str) -> None:
    """`BundleRejected` unless the bundle is this tier's part of the release, with a gate for each stage."""
    if bundle.task != release.task:
        raise BundleRejected(f"{where}: a bundle for task {bundle.task}, in a release for {release.task}")
    if bundle.tier != tier:
        raise BundleRejected(f"{where}: a bundle for tier {bundle.tier}, where one for {tier} is expected")
    stages = {stage.name for stage in bundle.stages}
    gated = {entry.stage for entry in release.gates if entry.tier == tier}
    if stages - gated:
        raise BundleRejected(f"{where}: no gate for stage {', '.join(sorted(stages - gated))} of tier {tier}")
    if gated - stages:
        raise BundleRejected(
            f"{where}: a gate for stage {', '.join(sorted(gated - stages))}, which tier {tier} has not"
        )
    cues = {stage.name: len(stage.cues) for stage in bundle.stages}
    for each in release.references:
        if each.tier == tier and len(each.cues) != cues.get(each.stage):
            raise BundleRejected(f"{where}: the reference of {each.stage} is of other cues than the stage has")


def check_continuations(bundles: Mapping[Tier, BundleManifest], where: str) -> None:
    """`BundleRejected` where a stage goes on from a segment that no tier below sends from. For who has all bundles."""
    sent: set[str] = set()
    for tier in TIERS:
        bundle = bundles.get(cast(Tier, tier))
        for stage in bundle.stages if bundle is not None else ():
            wanted = next((spec.continues for spec in stage.inputs if spec.continues), "")
            if wanted and wanted not in sent:
                raise BundleRejected(
                    f"{where}: {tier} stage {stage.name} goes on from a segment that no tier below sends"
                )
        if bundle is not None:
            sent |= {stage_digest(stage, bundle) for stage in bundle.stages if stage.sends}


def asked_stages(bundles: Sequence[BundleManifest]) -> list[list[StageSpec]]:
    """Of each tier, from the device up: the stages that questions come to, as recordings have them. Not those that go
    on from a segment that is in none of these bundles: nobody brings its features."""
    sent = {""}
    found = []
    for bundle in bundles:
        roots = roots_of(bundle.stages)
        found.append([stage for stage in as_recorded(bundle.stages) if roots[stage.name] in sent])
        sent |= {stage_digest(stage, bundle) for stage in found[-1] if stage.sends}
    return found


def ladder_of(release: ReleaseManifest, digest: str, bundle: BundleManifest) -> Ladder:
    """The ladder of the bundle's tier, in the order of the bundle's stages."""
    gates = {entry.stage: entry.gate for entry in release.gates if entry.tier == bundle.tier}
    references = {each.stage: each for each in release.references if each.tier == bundle.tier}
    stages = tuple(
        LadderStage(
            name=stage.name,
            kind=stage.output.kind,
            gate=gates[stage.name],
            model=bundle.files[stage.file].sha256[:SHORT_DIGEST],
            labels=stage.labels,
            max_batch=stage.max_batch,
            cues=stage.cues,
            reference=references.get(stage.name),
            after=before(stage),
            continues=continues(stage),
            sends=bool(stage.sends),
        )
        for stage in bundle.stages
    )
    return Ladder(
        task=release.task,
        release=release_id(release, digest),
        stages=stages,
        models_above=models_above(release, bundle.tier),
        care=release.care,
        timing=release.timings.get(bundle.tier, Timing()),
    )


def models_above(release: ReleaseManifest, tier: Tier) -> tuple[str, ...]:
    """The models above a tier that the promise of its release was made with."""
    if release.promise is None:
        return ()
    above = TIERS[TIERS.index(tier) + 1 :]
    return tuple(each.model for each in release.promise.models if each.tier in above)
