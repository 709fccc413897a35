"""`cascade calibrate` on a ladder that sends hidden features up: what it promises is what `cascade evaluate` finds."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.adapters.recording_file import read_recordings, write_recordings
from cascade.release.bundle import (
    BundleManifest,
    Costs,
    InputSpec,
    OutputSpec,
    SentSpec,
    StageGate,
    StageSpec,
    stage_digest,
)
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Dequantise
from cascade_cli import exit_codes
from cloud_service.calibrating.targets import PACKET_BYTES

WIDTH, MIDDLE = 200, 60
"""Numbers of an image, and those of them that the second exit hands on: as they are, four bytes each."""
IMAGE = InputSpec(tensor="image", shape=(WIDTH,), dtype="uint8", features=(Dequantise(scale=1 / 255),))
TARGET = ("--target", "at most 3 points worse than the cloud")
SETTINGS = """
release = "release"
data = { kind = "replay", path = "fresh.npz" }
cache = "cache"
"""
RIGHT = (0.7, 0.8, 0.97, 0.995)
"""Of the two exits, of what goes on from the second, and of the model that takes the input."""


def stage(name, spec, **more):
    output = OutputSpec(kind="classes", tensor="y")
    return StageSpec(
        name=name, file=name, format="scripted", inputs=(spec,), output=output, labels=("no", "yes"), **more
    )


def write_tier(folder, tier, stages, models):
    manifest = BundleManifest(format=1, name=tier, task="t", tier=tier, stages=stages, files={})
    scripts = {name: msgspec.json.encode({"script": "echo"} | script) for name, script in models.items()}
    return write_bundle(folder / tier, manifest, scripts).manifest


WHOLE = {"inputs": {"x": [WIDTH]}, "outputs": {"y": [2]}, "at": 64}


def write_cascade(folder, above=("whole", "rest"), *, cloud=False):
    exits = (
        stage("exit1", IMAGE, costs=Costs(multiply_adds=1000)),
        stage(
            "exit2",
            InputSpec(tensor="h", shape=(MIDDLE + 2,), segment="exit1"),
            sends=(SentSpec(output="h", shape=(MIDDLE,)),),
            costs=Costs(multiply_adds=1000),
        ),
    )
    models = {
        "exit1": {"inputs": {"x": [WIDTH]}, "outputs": {"y": [2], "h": [MIDDLE + 2]}},
        "exit2": {"inputs": {"x": [MIDDLE + 2]}, "outputs": {"y": [2], "h": [MIDDLE]}},
        "whole": WHOLE,
        "rest": {"inputs": {"x": [MIDDLE]}, "outputs": {"y": [2]}},
    }
    edge = write_tier(folder, "edge", exits, {name: models[name] for name in ("exit1", "exit2")})
    rest = stage("rest", InputSpec(tensor="h", shape=(MIDDLE,), continues=stage_digest(edge.stages[1], edge)))
    stages = tuple({"whole": stage("whole", IMAGE), "rest": rest}[name] for name in above)
    write_tier(folder, "fog", stages, {name: models[name] for name in above})
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("confidence", 0.99)) for each in exits]
    gates += [StageGate(tier="fog", stage=name, gate=GateSpec("confidence", 0.9)) for name in above]
    if cloud:
        write_tier(folder, "cloud", (stage("top", IMAGE),), {"top": WHOLE})
        gates.append(StageGate(tier="cloud", stage="top", gate=GateSpec("always")))
    write_release(folder, "r", "t", gates)


def write_samples(path, seed, samples=2000):
    """Of every other one the features are larger than the input. No two are alike."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, samples)
    image = np.zeros((samples, WIDTH), np.uint8)
    dense = rng.random(samples) < 0.5
    image[dense, 10:64] = rng.integers(0, 256, (int(dense.sum()), 54))
    image[~dense, 70:] = rng.integers(0, 256, (int((~dense).sum()), WIDTH - 70))
    for at, good in zip((0, 2, 4, 64), RIGHT, strict=True):
        chance = np.clip(good + 0.2 * rng.standard_normal(samples), 0.5, 0.999)
        says = np.where(rng.random(samples) < chance, label, 1 - label)
        image[:, at] = np.round(255 * np.where(says == 0, chance, 1 - chance))
        image[:, at + 1] = 255 - image[:, at]
    np.savez(path, image=image, labels=np.array(["no", "yes"])[label])


@pytest.fixture
def folder(tmp_path):
    write_cascade(tmp_path / "release")
    write_samples(tmp_path / "samples.npz", seed=0)
    write_samples(tmp_path / "fresh.npz", seed=3, samples=600)
    (tmp_path / "evaluate.toml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture
def calibrate(cascade, folder):
    def run(*words, record=True):
        first = ("--record", folder / "samples.npz") if record else ()
        return cascade("calibrate", folder / "release", "--recordings", folder / "r.npz", *first, *words, "--json")

    return run


@pytest.fixture
def evaluate(cascade, folder):
    return lambda *words: json.loads(cascade("evaluate", folder / "evaluate.toml", "--json", *words).out)


def test_what_is_promised_is_what_fresh_samples_show(calibrate, evaluate, folder):
    said = calibrate(*TARGET)
    assert said.code == 0, said.err
    told = json.loads(said.out)
    report = evaluate()
    assert report["cascade_beside"]["fog only"]["points_right"]["high"] > -3.0
    found = report["systems"]
    answered = found["cascade"]["answered_by"]
    on_device = sum(share["value"] for place, share in answered.items() if place.startswith("edge/"))
    assert on_device == pytest.approx(told["answered"]["edge"], abs=0.05)
    assert {"fog/rest", "fog/whole"} < set(answered)
    assert found["cascade"]["bytes_up_per_question"]["value"] == pytest.approx(told["bytes_per_question"], rel=0.1)
    promise = open_release(folder / "release", "edge").manifest.promise
    assert "have the encoding zlib" in promise.assumes


def test_how_often_features_are_smaller_is_counted(calibrate, cascade, folder):
    smaller = json.loads(calibrate().out)["recorded"]["hidden"]["edge/exit2"]
    assert 800 < smaller < 1200
    said = cascade("calibrate", folder / "release", "--recordings", folder / "r.npz")
    assert f"unreadable: none; smaller than the input: {smaller:,} of edge/exit2's features" in said.out


def test_thresholds_are_those_of_the_stages_that_have_somebody_above(calibrate):
    gates = {gate["stage"]: gate["gate"] for gate in json.loads(calibrate(*TARGET).out)["gates"]}
    assert gates["exit1"]["threshold"] != 0.99
    assert gates["rest"]["threshold"] == gates["whole"]["threshold"] == 0.9


def test_a_budget_of_bytes_counts_what_crosses(calibrate, evaluate):
    said = calibrate("--target", "at most 6 kB per minute", "--rate", "60")
    assert said.code == 0, said.err
    cascade = evaluate()["systems"]["cascade"]
    climbed = sum(row["value"] for stage, row in cascade["answered_by"].items() if not stage.startswith("edge"))
    assert 80 < cascade["bytes_up_per_question"]["value"] + PACKET_BYTES * climbed < 100


@pytest.mark.needs_services
@pytest.mark.slow
def test_calibrated_scores_are_those_of_the_same_stages_over_processes_too(calibrate, evaluate, folder):
    said = calibrate("--method", "platt", *TARGET)
    assert said.code == 0, said.err
    assert {each["stage"] for each in json.loads(said.out)["calibration"]} == {"exit1", "exit2", "rest", "whole"}
    write_samples(folder / "fresh.npz", seed=2, samples=60)
    memory, processes = evaluate(), evaluate("--processes")
    for name in ("device only", "fog only", "cascade"):
        assert memory["systems"][name]["answered_by"] == processes["systems"][name]["answered_by"]


def test_what_a_tier_can_only_pass_on_in_vain_is_refused_with_the_reason(calibrate, folder):
    write_cascade(folder / "release", cloud=True)
    said = calibrate(*TARGET)
    assert said.code == exit_codes.FAILED
    assert "fog/rest goes on from hidden features of a tier below, and no stage of cloud does" in said.err


def test_features_that_nothing_goes_on_from_are_in_no_budget(calibrate, folder):
    write_cascade(folder / "release", above=("whole",))
    said = calibrate("--target", "at most 6 kB per minute", "--rate", "60")
    assert "edge/exit2 sends hidden features from which no stage of the next tier goes on" in said.err
    assert calibrate(*TARGET, record=False).code == 0


def test_a_recording_without_the_stages_that_go_on_is_refused(calibrate, folder):
    assert calibrate().code == 0
    whole = read_recordings(folder / "r.npz")
    short = [stage for stage in whole.stages if stage.name != "rest"]
    write_recordings(folder / "r.npz", replace(whole, stages=tuple(short)))
    said = calibrate(*TARGET, record=False)
    assert "recorded of the stages edge/exit1, edge/exit2, fog/whole; the release has" in said.err
