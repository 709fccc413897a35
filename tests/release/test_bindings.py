"""What belongs to exact bytes is refused with others: a calibration to its stage, a promise to its ladder and gates."""

from __future__ import annotations

import msgspec
import pytest

from cascade.adapters.bundle_folder import open_bundle, open_release, write_bundle, write_calibrations, write_release
from cascade.adapters.scripted_release import write_scripted_release
from cascade.errors import BundleRejected
from cascade.release.bundle import RELEASE_FILE, StageGate, read_release_manifest, stage_digest
from cascade.release.calibrated import Calibration
from cascade.release.ladder import GateSpec
from cascade.release.promise import ModelAbove, Promise, gates_digest


@pytest.fixture
def release(tmp_path):
    return write_scripted_release(tmp_path / "release")


def calibration(folder, **parameters):
    manifest = open_bundle(folder).manifest
    usual = {"method": "temperature", "scale": (0.5,)}
    return Calibration(stage_digest=stage_digest(manifest.stages[0], manifest), **{**usual, **parameters})


def test_a_calibrated_stage_says_less_than_it_did(release):
    made = write_calibrations(release / "edge", {"edge-model": calibration(release / "edge")})
    assert made.manifest.stages[0].calibration.scale == (0.5,)
    with pytest.raises(BundleRejected, match="where the release names"):
        open_release(release, "edge")


def test_a_calibration_for_another_model_is_refused(release):
    fitted = calibration(release / "edge")
    made = write_calibrations(release / "edge", {"edge-model": fitted})
    other = (release / "edge/model.json").read_bytes().replace(b'"at":0', b'"at":1')
    with pytest.raises(BundleRejected, match="calibration was fitted on other bytes than these: fit it again"):
        write_bundle(release / "edge", made.manifest, {"model.json": other})


def test_a_calibration_for_other_preprocessing_is_refused(release):
    made = write_calibrations(release / "edge", {"edge-model": calibration(release / "edge")}).manifest
    stage = made.stages[0]
    labels = msgspec.structs.replace(stage, labels=("yes", "no"))
    with pytest.raises(BundleRejected, match="fitted on other bytes"):
        write_bundle(
            release / "edge",
            msgspec.structs.replace(made, stages=(labels,)),
            {"model.json": (release / "edge/model.json").read_bytes()},
        )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"scale": (0.0,)}, "scales are above 0"),
        ({"scale": (0.5, 0.5)}, "needs 1 scales and 0 shifts"),
        ({"scale": (float("inf"),)}, "scale"),
        ({"method": "vector", "scale": (1.0,), "shift": (1.0,)}, "needs 2 scales and 2 shifts"),
        ({"method": "isotonic", "scale": (), "knots": (0.0,), "values": (0.0,)}, "2 to 256 knots"),
        ({"method": "isotonic", "scale": (), "knots": (0.5, 0.5), "values": (0.0, 1.0)}, "knots of a calibration rise"),
        ({"method": "isotonic", "scale": (), "knots": (0.0, 1.0), "values": (0.9, 0.1)}, "never fall"),
    ],
)
def test_a_calibration_that_cant_be_is_refused(release, parameters, said):
    fitted = calibration(release / "edge", **parameters)
    with pytest.raises(BundleRejected, match=said):
        write_calibrations(release / "edge", {"edge-model": fitted})


def promised(release, gates=None, **changes):
    manifest = read_release_manifest((release / RELEASE_FILE).read_bytes(), "there")
    usual = {
        "targets": ("at most 0.5 points worse than the cloud",), "confidence": 0.9, "method": "m", "assumes": "a",
        "samples": 1000, "ladder": {tier: each.digest for tier, each in manifest.bundles.items()},
        "models": (ModelAbove(tier="edge", stage="e", model="e"), ModelAbove(tier="cloud", stage="c", model="x")),
        "gates_digest": gates_digest(manifest.gates if gates is None else gates),
    }  # fmt: skip
    return Promise(**{**usual, **changes}), manifest.gates if gates is None else gates


def test_a_promise_is_carried_and_says_which_models_must_be_above(release):
    promise, gates = promised(release)
    write_release(release, "r", "task", gates, promise)
    assert open_release(release, "edge").manifest.promise == promise
    assert open_release(release, "edge").ladder.models_above == ("x",)
    assert open_release(release, "cloud").ladder.models_above == ()


def test_a_promise_for_another_ladder_is_refused_and_says_which_tier(release):
    promise, gates = promised(release)
    wrong = msgspec.structs.replace(promise, ladder={**promise.ladder, "cloud": "0" * 64})
    with pytest.raises(BundleRejected, match="for other bundles of cloud: calibrate again"):
        write_release(release, "r", "task", gates, wrong)


def test_a_threshold_changed_by_hand_is_no_promise_any_more(release):
    promise, gates = promised(release)
    write_release(release, "r", "task", gates, promise)
    raw = (release / RELEASE_FILE).read_bytes().replace(b'"threshold": 0.9', b'"threshold": 0.8', 1)
    (release / RELEASE_FILE).write_bytes(raw)
    with pytest.raises(BundleRejected, match="for other gates or thresholds: calibrate again"):
        open_release(release, "edge")


def test_the_order_of_gates_does_not_matter_to_a_promise():
    below = StageGate(tier="edge", stage="a", gate=GateSpec("always"))
    gates = [below, StageGate(tier="fog", stage="b", gate=GateSpec("never"))]
    assert gates_digest(gates) == gates_digest(gates[::-1])
    assert gates_digest(gates) != gates_digest(gates[:1])
