"""A manifest that passes its checks is the same once written and read, and no byte of it can change unseen."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.errors import BundleRejected
from cascade.messages import DTYPES
from cascade.release.bundle import (
    BundleManifest,
    BundleRef,
    Costs,
    FileEntry,
    InputSpec,
    Lineage,
    Normalise,
    OutputSpec,
    ReleaseManifest,
    Requirements,
    StageGate,
    StageSpec,
    digest_of,
    read_bundle_manifest,
    read_release_manifest,
    write_manifest,
)
from cascade.release.ladder import GateSpec

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(lambda name: ".." not in name)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
NUMBERS = st.floats(-1e30, 1e30)
TIERS = st.sampled_from(["edge", "fog", "cloud"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join).filter(lambda path: path != "manifest.json")

INPUTS = st.builds(
    InputSpec,
    tensor=TEXTS,
    shape=st.lists(st.integers(1, 1000), max_size=4).map(tuple),
    dtype=st.sampled_from(sorted(DTYPES)),
    features=st.lists(
        st.builds(Normalise, subtract=NUMBERS, divide=NUMBERS.filter(lambda number: number != 0)), max_size=2
    ).map(tuple),
)
OUTPUTS = st.builds(
    OutputSpec,
    kind=st.sampled_from(["classes", "estimate", "anomaly", "detections"]),
    tensor=TEXTS,
    spread_tensor=TEXTS,
    limit=st.floats(0.001, 0.999),
    box_order=st.sampled_from(["left top right bottom", "top left bottom right"]),
)


@st.composite
def bundles(draw: st.DrawFn) -> BundleManifest:
    paths = draw(st.lists(PATHS, min_size=1, max_size=3, unique=True))
    stages = tuple(_stage(draw, name, paths) for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)))
    return BundleManifest(
        format=1,
        name=draw(NAMES),
        task=draw(NAMES),
        tier=draw(TIERS),
        stages=stages,
        files={path: FileEntry(sha256=draw(DIGESTS), bytes=draw(st.integers(0, 2**62))) for path in paths},
        requirements=draw(st.builds(Requirements, memory_bytes=st.integers(0, 2**62), runtime=TEXTS)),
        lineage=draw(st.builds(Lineage, made_by=TEXTS, made_from=st.lists(TEXTS, max_size=2).map(tuple), note=TEXTS)),
    )


def _stage(draw: st.DrawFn, name: str, paths: list[str]) -> StageSpec:
    inputs = draw(st.lists(INPUTS, min_size=1, max_size=1))
    return StageSpec(
        name=name,
        file=draw(st.sampled_from(paths)),
        format=draw(NAMES),
        inputs=tuple(inputs),
        output=draw(OUTPUTS),
        labels=tuple(draw(st.lists(TEXTS, max_size=4))),
        max_batch=draw(st.integers(1, 4096)),
        costs=draw(st.builds(Costs, multiply_adds=st.integers(0, 2**62), bits=st.sampled_from([8, 16, 32]))),
    )


@st.composite
def releases(draw: st.DrawFn) -> ReleaseManifest:
    gated = draw(st.lists(st.tuples(TIERS, NAMES), max_size=4, unique=True))
    gates = tuple(StageGate(tier=tier, stage=stage, gate=draw(_GATES)) for tier, stage in gated)  # type: ignore[arg-type]
    bundles: dict[Any, BundleRef] = draw(
        st.dictionaries(TIERS, st.builds(BundleRef, folder=NAMES, digest=DIGESTS), min_size=1)
    )
    return ReleaseManifest(format=1, name=draw(NAMES), task=draw(NAMES), bundles=bundles, gates=gates)


_GATES = st.builds(
    GateSpec,
    name=NAMES,
    threshold=st.none() | st.floats(0, 1),
    drop=st.lists(TEXTS, max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(manifest=bundles())
def test_a_bundles_manifest_comes_back_as_it_was(manifest: BundleManifest) -> None:
    raw = write_manifest(manifest)
    assert read_bundle_manifest(raw, "here") == manifest
    assert write_manifest(read_bundle_manifest(raw, "here")) == raw


@settings(max_examples=40, deadline=None)
@given(manifest=releases())
def test_a_releases_manifest_comes_back_as_it_was(manifest: ReleaseManifest) -> None:
    raw = write_manifest(manifest)
    assert read_release_manifest(raw, "here") == manifest
    assert write_manifest(read_release_manifest(raw, "here")) == raw


@settings(max_examples=40, deadline=None)
@given(manifest=bundles(), at=st.integers(0, 100_000), mask=st.integers(1, 255))
def test_a_manifest_with_one_byte_changed_is_refused_or_another_one(
    manifest: BundleManifest, at: int, mask: int
) -> None:
    raw = bytearray(write_manifest(manifest))
    before = digest_of(bytes(raw))
    raw[at % len(raw)] ^= mask
    assert digest_of(bytes(raw)) != before
    with suppress(BundleRejected):
        read_bundle_manifest(bytes(raw), "here")
