"""Manifests: what is read, and what is refused with the place and the reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import BundleRejected
from cascade.release.bundle import (
    MAX_MANIFEST_BYTES,
    BundleManifest,
    FileEntry,
    InputSpec,
    Normalise,
    OutputSpec,
    StageSpec,
    read_bundle_manifest,
    read_release_manifest,
    write_manifest,
)


def described(**changes: Any) -> dict[str, Any]:
    """A sound manifest as plain data, with `changes` to its only stage, or to the whole where it has that key."""
    whole: dict[str, Any] = {
        "format": 1,
        "name": "b",
        "task": "t",
        "tier": "edge",
        "files": {"m.onnx": {"sha256": "0" * 64, "bytes": 3}},
    }
    stage: dict[str, Any] = {
        "name": "s",
        "file": "m.onnx",
        "format": "onnx",
        "inputs": [{"tensor": "x", "shape": [4]}],
        "output": {"kind": "classes"},
    }
    for key, value in changes.items():
        (whole if key in (*whole, "extra") else stage)[key] = value
    return {"stages": [stage], **whole}


def read(**changes: Any) -> BundleManifest:
    return read_bundle_manifest(msgspec.json.encode(described(**changes)), "there")


def test_a_manifest_survives_being_written_and_read() -> None:
    stage = StageSpec(
        name="s",
        file="models/m.onnx",
        format="onnx",
        inputs=(
            InputSpec(tensor="x", shape=(28, 28), dtype="uint8", features=(Normalise(subtract=0.5, divide=255.0),)),
        ),
        output=OutputSpec(kind="classes", activation="softmax"),
        labels=("a", "b"),
    )
    manifest = BundleManifest(
        format=1,
        name="b",
        task="t",
        tier="fog",
        stages=(stage,),
        files={"models/m.onnx": FileEntry(sha256="0" * 64, bytes=3)},
    )
    raw = write_manifest(manifest)
    assert read_bundle_manifest(raw, "there") == manifest
    assert write_manifest(read_bundle_manifest(raw, "there")) == raw


@pytest.mark.parametrize(
    "path", ["../m", "/m", "a/../../m", "", ".", "a\\b", "a\0b", "./m.onnx", "a//b", "m.onnx/", "x" * 300, "a\nb"]
)
def test_a_path_that_leaves_the_bundle_or_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(BundleRejected, match="there"):
        read(files={"m.onnx": {"sha256": "0" * 64, "bytes": 3}, path: {"sha256": "0" * 64, "bytes": 3}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tier": "moon"}, "tier"),
        ({"name": "../b"}, "name"),
        ({"extra": 1}, "extra"),
        ({"file": "other.onnx"}, "other.onnx"),
        ({"files": {"m.onnx": {"sha256": "short", "bytes": 3}}}, "sha256"),
        ({"files": {"m.onnx": {"sha256": "0" * 64, "bytes": -1}}}, "bytes"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{"tensor": "x", "shape": [0]}]}, "shape"),
        ({"inputs": [{"tensor": "x", "shape": [4], "dtype": "string"}]}, "string"),
        ({"inputs": [{"tensor": "x", "shape": [4]}, {"tensor": "y", "shape": [4]}]}, "model_input"),
        ({"inputs": [{"tensor": "x", "shape": [4], "features": [{"feature": "normalise", "divide": 0}]}]}, "normalis"),
        ({"inputs": [{"tensor": "x", "shape": [4], "features": [{"feature": "mystery"}]}]}, "mystery"),
        ({"output": {"kind": "estimate", "activation": "softmax"}}, "softmax"),
        ({"output": {"kind": "anomaly", "limit": 1.0}}, "limit"),
        ({"max_batch": 0}, "max_batch"),
    ],
)
def test_a_mistake_in_a_manifest_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleRejected, match=said):
        read(**changes)


def test_another_format_is_refused_and_says_which_is_read() -> None:
    with pytest.raises(BundleRejected, match="format 2; this version reads format 1"):
        read_bundle_manifest(msgspec.json.encode(described() | {"format": 2}), "there")


def test_two_stages_of_one_name_are_refused() -> None:
    manifest = described()
    manifest["stages"] *= 2
    with pytest.raises(BundleRejected, match="one name"):
        read_bundle_manifest(msgspec.json.encode(manifest), "there")


def test_a_manifest_does_not_name_itself() -> None:
    with pytest.raises(BundleRejected, match="own digest"):
        read(files={"m.onnx": {"sha256": "0" * 64, "bytes": 3}, "manifest.json": {"sha256": "0" * 64, "bytes": 3}})


def test_a_manifest_of_a_megabyte_is_not_even_parsed() -> None:
    with pytest.raises(BundleRejected, match="bytes, more than"):
        read_bundle_manifest(b" " * (MAX_MANIFEST_BYTES + 1), "there")


def test_a_manifest_nested_without_end_is_refused() -> None:
    with pytest.raises(BundleRejected):
        read_bundle_manifest(b'{"files":' + b"[" * 500_000, "there")


def test_two_gates_of_one_stage_are_refused() -> None:
    gate = {"tier": "edge", "stage": "s", "gate": {"name": "confidence", "threshold": 0.5}}
    release = {"format": 1, "name": "r", "task": "t", "bundles": {}, "gates": [gate, gate]}
    with pytest.raises(BundleRejected, match="two gates"):
        read_release_manifest(msgspec.json.encode(release), "there")


@given(st.binary(max_size=200))
def test_rubbish_is_rejected_and_nothing_else(raw: bytes) -> None:
    for read_manifest in (read_bundle_manifest, read_release_manifest):
        with pytest.raises(BundleRejected):
            read_manifest(raw, "there")


def with_features(*features: dict[str, Any], shape: tuple[int, ...] = (16_000,)) -> BundleManifest:
    return read(inputs=[{"tensor": "x", "shape": shape, "dtype": "int16", "features": features}])


def test_rates_resolutions_and_sensors_are_settings_of_a_stage() -> None:
    mel = {"feature": "log_mel", "rate_hz": 16_000, "frame": 400, "hop": 160, "bands": 32}
    sound = with_features({"feature": "check", "clipped_share": 0.1}, mel).stages[0].inputs[0]
    assert sound.fed_shape == (98, 32)
    image = with_features({"feature": "resize", "height": 32, "width": 48}, shape=(480, 640, 3)).stages[0].inputs[0]
    assert image.fed_shape == (32, 48, 3)
    kept = with_features({"feature": "channels", "keep": [0, 2]}, shape=(50, 6)).stages[0].inputs[0]
    assert kept.fed_shape == (50, 2)


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({"feature": "log_mal"}, "log_mal"),
        ({"feature": "resize", "height": 4, "width": 4, "depth": 4}, "depth"),
        ({"feature": "log_mel", "rate_hz": 0, "frame": 400, "hop": 160}, "rate_hz"),
        ({"feature": "log_mel", "rate_hz": 8000, "frame": 400, "hop": 160, "high_hz": 5000}, "at a rate of 8000"),
        (
            {"feature": "mfcc", "rate_hz": 8000, "frame": 20_000, "hop": 160},
            "frames of 20000 rows on a sample of 16000",
        ),
        ({"feature": "low_pass", "rate_hz": 100, "taps": 10}, "10 taps, an even number"),
        ({"feature": "resize", "height": 4, "width": 4}, "feature 1 (resize): an image of shape (16000,)"),
    ],
)
def test_features_that_are_unknown_or_impossible_are_refused(feature: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleRejected) as refused:
        with_features(feature)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"value": 1.0, "carried": "y"}, "only one of both"),
        ({"carried": "y", "features": [{"feature": "normalise"}]}, "taken as it is"),
        ({"carried": "y", "shape": [2], "batch_axis": 2}, "a batch on axis 2 of 2"),
    ],
)
def test_inputs_that_no_question_holds_are_described_in_one_way(more: dict[str, Any], said: str) -> None:
    inputs = [
        {"tensor": "x", "shape": [4], "model_input": "x"},
        {"tensor": "s", "shape": [4], "model_input": "s", **more},
    ]
    with pytest.raises(BundleRejected, match=said):
        read(inputs=inputs)


def test_a_stage_that_no_question_could_feed_is_refused() -> None:
    with pytest.raises(BundleRejected, match="none of its inputs is in the question"):
        read(inputs=[{"tensor": "x", "shape": [4], "value": 1.0}])
