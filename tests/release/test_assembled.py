"""A release and its bundles: what belongs together, and the ladder that comes of it."""

from __future__ import annotations

import pytest

from cascade.errors import BundleRejected
from cascade.release.assembled import check_together, ladder_of, release_id
from cascade.release.bundle import (
    BundleManifest,
    BundleRef,
    FileEntry,
    InputSpec,
    OutputSpec,
    ReleaseManifest,
    StageGate,
    StageSpec,
)
from cascade.release.ladder import GateSpec

DIGEST = "abcdef0123456789" * 4


def bundle(*stages: str, tier: str = "edge", task: str = "t") -> BundleManifest:
    return BundleManifest(
        format=1,
        name="b",
        task=task,
        tier=tier,  # type: ignore[arg-type]
        stages=tuple(
            StageSpec(
                name=name,
                file="m",
                format="scripted",
                inputs=(InputSpec(tensor="x", shape=(1,)),),
                output=OutputSpec(kind="classes"),
                labels=("a", "b"),
            )
            for name in stages
        ),
        files={"m": FileEntry(sha256="1" * 64, bytes=1)},
    )


def release(*gates: tuple[str, str, float], name: str = "r") -> ReleaseManifest:
    return ReleaseManifest(
        format=1,
        name=name,
        task="t",
        bundles={"edge": BundleRef(folder="edge", digest=DIGEST)},
        gates=tuple(StageGate(tier=tier, stage=stage, gate=GateSpec("g", at)) for tier, stage, at in gates),  # type: ignore[arg-type]
    )


def test_a_ladder_has_the_stages_of_its_tier_in_the_order_of_the_bundle() -> None:
    whole = release(("edge", "second", 0.2), ("fog", "first", 0.9), ("edge", "first", 0.1))
    ladder = ladder_of(whole, DIGEST, bundle("first", "second"))
    assert [(stage.name, stage.gate.threshold) for stage in ladder.stages] == [("first", 0.1), ("second", 0.2)]
    assert ladder.stages[0].model == "1" * 12


def test_a_release_published_twice_under_one_name_is_two_releases() -> None:
    assert release_id(release(), "a" * 64) != release_id(release(), "b" * 64)


def test_the_id_of_a_release_is_short_enough_to_be_a_name() -> None:
    assert len(release_id(release(name="n" * 64), DIGEST)) == 64


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (bundle("first", task="other"), "task other"),
        (bundle("first", tier="fog"), "tier fog"),
        (bundle("first", "third"), "no gate for stage third"),
    ],
)
def test_a_bundle_of_something_else_is_refused(part: BundleManifest, said: str) -> None:
    with pytest.raises(BundleRejected, match=f"there: .*{said}"):
        check_together(release(("edge", "first", 0.1)), "edge", part, "there")


def test_a_gate_for_a_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(BundleRejected, match="a gate for stage second, which tier edge has not"):
        check_together(release(("edge", "first", 0.1), ("edge", "second", 0.1)), "edge", bundle("first"), "there")
