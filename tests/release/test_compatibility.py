"""Whether a bundle fits a machine."""

from __future__ import annotations

import pytest

from cascade.release.bundle import BundleManifest, FileEntry, InputSpec, OutputSpec, Requirements, StageSpec
from cascade.release.compatibility import MachineFacts, misfits


def bundle(format_: str = "onnx", **requirements: object) -> BundleManifest:
    stage = StageSpec(
        name="s",
        file="m",
        format=format_,
        inputs=(InputSpec(tensor="x", shape=(1,)),),
        output=OutputSpec(kind="classes"),
    )
    return BundleManifest(
        format=1,
        name="b",
        task="t",
        tier="edge",
        stages=(stage,),
        files={"m": FileEntry(sha256="0" * 64, bytes=1)},
        requirements=Requirements(**requirements),  # type: ignore[arg-type]
    )


PI = MachineFacts(engines=frozenset({"onnx"}), runtime="0.2.1", memory_bytes=1000)


def test_a_bundle_that_asks_for_nothing_special_fits() -> None:
    assert misfits(bundle(), PI) == []


def test_every_reason_is_given_at_once() -> None:
    reasons = misfits(bundle("tflite", memory_bytes=1001, runtime="0.3"), PI)
    assert len(reasons) == 3
    assert "tflite" in reasons[0]
    assert "1001 bytes" in reasons[1]
    assert "version 0.3" in reasons[2]


def test_memory_that_nobody_knows_is_not_held_against_a_bundle() -> None:
    assert misfits(bundle(memory_bytes=10**12), MachineFacts(engines=frozenset({"onnx"}), runtime="1")) == []


@pytest.mark.parametrize(
    ("have", "wanted", "fits"),
    [
        ("0.10", "0.9", True),
        ("0.9", "0.10", False),
        ("1.0.0", "1", True),
        ("1", "1.0.0", True),
        ("1.2.0rc1", "1.2", True),
        ("unknown", "0.1", False),
        ("0.1", "", True),
    ],
)
def test_versions_compare_as_numbers(have: str, wanted: str, fits: bool) -> None:
    machine = MachineFacts(engines=frozenset({"onnx"}), runtime=have)
    assert (misfits(bundle(runtime=wanted), machine) == []) is fits
