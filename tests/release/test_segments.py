"""Segments in a manifest: how they hang together, what digest they have, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cascade.errors import BundleRejected
from cascade.release.assembled import ladder_of
from cascade.release.bundle import (
    BundleManifest,
    BundleRef,
    FileEntry,
    InputSpec,
    Normalise,
    OutputSpec,
    ReleaseManifest,
    SentSpec,
    StageGate,
    StageSpec,
    read_bundle_manifest,
    stage_digest,
    write_manifest,
)
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Quantise
from cascade.release.segments import handed_on, travelling

IMAGE = InputSpec(tensor="image", shape=(4, 4))
HIDDEN = InputSpec(tensor="hidden", shape=(2, 2), segment="exit1")
BELOW = "ab" * 32


def stage(name: str, *inputs: InputSpec, **more: Any) -> StageSpec:
    return StageSpec(
        name=name, file=f"{name}.onnx", format="onnx", inputs=inputs, output=OutputSpec(kind="classes"), **more
    )


def bundle(*stages: StageSpec) -> BundleManifest:
    files = {each.file: FileEntry(sha256=f"{index}" * 64, bytes=1) for index, each in enumerate(stages)}
    return BundleManifest(format=1, name="b", task="t", tier="edge", stages=stages, files=files)


def read(*stages: StageSpec) -> BundleManifest:
    return read_bundle_manifest(write_manifest(bundle(*stages)), "there")


FIRST = stage("exit1", IMAGE)
SENT = SentSpec(output="small", shape=(2,), features=(Quantise(scale=0.1, dtype="uint8"),))


def test_segments_survive_being_written_and_read():
    stages = (FIRST, stage("exit2", HIDDEN, sends=(SENT,)))
    assert read(*stages).stages == stages


def test_what_a_segment_hands_on_is_what_the_next_takes_and_what_it_sends():
    first = replace(FIRST, sends=(SENT,))
    assert handed_on(first, (first, stage("exit2", HIDDEN))) == {"hidden": (2, 2), "small": (2,)}


def test_a_ladder_knows_which_stage_goes_on_from_which():
    manifest = bundle(FIRST, stage("exit2", HIDDEN, sends=(SENT,)), stage("rest", continued()))
    release = ReleaseManifest(
        format=1,
        name="r",
        task="t",
        bundles={"edge": BundleRef(folder="edge", digest="0" * 64)},
        gates=tuple(StageGate(tier="edge", stage=each.name, gate=GateSpec("always")) for each in manifest.stages),
    )
    found = [(each.after, each.sends, each.continues) for each in ladder_of(release, "0" * 64, manifest).stages]
    assert found == [("", False, b""), ("exit1", True, b""), ("", False, b"\xab" * 16)]


def continued(**more: Any) -> InputSpec:
    return InputSpec(tensor="hidden", shape=(2, 2), continues=BELOW, **more)


def test_a_digest_travels_in_sixteen_bytes():
    assert travelling(BELOW) == b"\xab" * 16


def test_the_digest_of_a_segment_is_also_of_those_before_it():
    ours = bundle(FIRST, stage("exit2", HIDDEN))
    others = replace(ours, files={**ours.files, "exit1.onnx": FileEntry(sha256="f" * 64, bytes=1)})
    assert stage_digest(ours.stages[1], ours) != stage_digest(others.stages[1], others)


def test_the_digest_of_a_segment_is_also_of_how_its_features_are_made_small():
    ours, coarser = (
        bundle(stage("exit1", IMAGE, sends=(replace(SENT, features=(Quantise(scale=scale, dtype="uint8"),)),)))
        for scale in (0.1, 0.2)
    )
    assert stage_digest(ours.stages[0], ours) != stage_digest(coarser.stages[0], coarser)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ((stage("rest", continued()),), "the first stage takes the input"),
        ((FIRST, stage("exit2", replace(HIDDEN, segment="exit3"))), "exit3, which is no earlier stage"),
        ((stage("exit2", replace(HIDDEN, segment="exit2")),), "exit2, which is no earlier stage"),
        (
            (FIRST, stage("a", replace(HIDDEN, model_input="h"), replace(continued(), model_input="i"))),
            "from one segment, not from several",
        ),
        (
            (FIRST, stage("a", replace(continued(), model_input="h"), replace(IMAGE, model_input="i"))),
            "with whose features no input comes",
        ),
        (
            (
                FIRST,
                stage("a", continued()),
                stage("b", replace(HIDDEN, segment="a", model_input="h"), replace(IMAGE, model_input="i")),
            ),
            "with whose features no input comes",
        ),
        ((FIRST, stage("exit2", replace(HIDDEN, features=(Normalise(),)))), "taken as they are"),
        ((FIRST, stage("exit2", replace(HIDDEN, value=1.0))), "taken as they are"),
        ((FIRST, stage("a", continued(carried="state"))), "no value and no carried state"),
        (
            (replace(FIRST, sends=(replace(SENT, output="hidden"),)), stage("exit2", HIDDEN)),
            r"of shape \(2, 2\), and sent as \(2,\)",
        ),
        ((replace(FIRST, sends=(SENT, SENT)),), "each once"),
        ((replace(FIRST, sends=(replace(SENT, features=(Quantise(scale=1e-40),)),)),), "sent output small: feature 1"),
    ],
)
def test_what_can_not_hang_together_is_refused(stages, said):
    with pytest.raises(BundleRejected, match=said):
        read(*stages)


def test_a_circle_of_segments_is_refused_and_not_walked():
    with pytest.raises(BundleRejected, match="no earlier stage"):
        read(stage("a", replace(HIDDEN, segment="b")), stage("b", replace(HIDDEN, segment="a")))
