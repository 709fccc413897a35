"""Early exits: a model in segments, whose hidden features go up in place of the input."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import write_bundle, write_release
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
from cascade.release.preprocessing import Dequantise, Quantise

WIDTH = 300
"""Numbers of an input: the scores of both exits and of the gateway, and noise, so that the input is large."""
SETTINGS = """
release = "release"
data = { kind = "replay", path = "samples.npz" }
cache = "cache"
above.budget.joules_per_byte = 1e-6
"""


def stage(name, spec, **more):
    output = OutputSpec(kind="classes", tensor="y")
    return StageSpec(
        name=name, file=name, format="scripted", inputs=(spec,), output=output, labels=("no", "yes"), **more
    )


def script(width, at=0, hidden=0):
    outputs = {"y": [2]} | ({"h": [hidden]} if hidden else {})
    return msgspec.json.encode({"script": "echo", "inputs": {"x": [width]}, "outputs": outputs, "at": at})


@pytest.fixture
def folder(tmp_path):
    """Two exits on the device; the gateway has the whole model, and what goes on from the second exit."""
    small = (Quantise(scale=1 / 254, dtype="uint8"),)
    exits = (
        stage("exit1", InputSpec(tensor="image", shape=(WIDTH,)), costs=Costs(multiply_adds=1000)),
        stage(
            "exit2",
            InputSpec(tensor="h", shape=(6,), segment="exit1"),
            costs=Costs(multiply_adds=500),
            sends=(SentSpec(output="h", shape=(4,), features=small),),
        ),
    )
    release = tmp_path / "release"
    edge = BundleManifest(format=1, name="e", task="t", tier="edge", stages=exits, files={})
    written = write_bundle(release / "edge", edge, {"exit1": script(WIDTH, 0, 6), "exit2": script(6, 0, 4)}).manifest
    features = (Dequantise(scale=1 / 254),)
    digest = stage_digest(written.stages[-1], written)
    above = (
        stage("whole", InputSpec(tensor="image", shape=(WIDTH,))),
        stage("rest", InputSpec(tensor="h", shape=(4,), dtype="uint8", features=features, continues=digest)),
    )
    fog = BundleManifest(format=1, name="f", task="t", tier="fog", stages=above, files={})
    write_bundle(release / "fog", fog, {"whole": script(WIDTH, 4), "rest": script(4)})
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("confidence", 0.8)) for each in exits]
    gates += [StageGate(tier="fog", stage=each.name, gate=GateSpec("always")) for each in above]
    write_release(release, "r", "t", gates)
    write_samples(tmp_path / "samples.npz")
    (tmp_path / "evaluate.toml").write_text(SETTINGS)
    return tmp_path


def write_samples(path, samples=60):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, samples)
    sure, unsure = np.array([[0.95, 0.05], [0.05, 0.95]]), np.array([[0.55, 0.45], [0.45, 0.55]])
    luck = rng.random(samples)
    told = [np.where((luck < share)[:, None], sure[label], unsure[label]) for share in (0.5, 0.75, 1.0)]
    noise = rng.random((samples, WIDTH - 6))
    np.savez(path, image=np.hstack([*told, noise]).astype(np.float32), labels=np.array(["no", "yes"])[label])


def test_each_exit_answers_its_share_and_hidden_features_go_up(evaluate):
    found = evaluate()
    cascade = found["systems"]["cascade"]
    assert list(cascade["answered_by"]) == ["edge/exit1", "edge/exit2", "fog/rest"]
    assert found["cascade_beside"]["fog only"]["times_fewer_bytes"]["value"] > 10
    assert found["thresholds_moved"][0]["points"][0]["bytes_up"] < 300
    assert found["run_anew"] == {"edge/exit1": 60, "edge/exit2": 60, "fog/rest": 60, "fog/whole": 60}


def test_of_segments_all_are_run_again_where_one_is_missing(evaluate, folder):
    evaluate()
    sorted((folder / "cache").iterdir())[0].unlink()
    assert sum(evaluate()["run_anew"].values()) in (60, 120, 180)
    assert sum(evaluate()["run_anew"].values()) == 0


def test_a_replay_decides_the_same_again(evaluate):
    first, second = evaluate(), evaluate()
    assert first["systems"] == second["systems"]


def write_release_that_sends(folder, *exits):
    """Of the two exits on the device those send that are named here; the gateway goes on from the first."""
    sends = (SentSpec(output="h", shape=(6,)),), (SentSpec(output="h", shape=(4,)),)
    stages = (
        stage("exit1", InputSpec(tensor="image", shape=(WIDTH,)), sends=sends[0]),
        stage("exit2", InputSpec(tensor="h", shape=(6,), segment="exit1"), sends=sends[1] if "exit2" in exits else ()),
    )
    edge = BundleManifest(format=1, name="e", task="t", tier="edge", stages=stages, files={})
    files = {"exit1": script(WIDTH, 0, 6), "exit2": script(6, 0, 4)}
    written = write_bundle(folder / "edge", edge, files).manifest
    digest = stage_digest(written.stages[0], written)
    above = (
        stage("whole", InputSpec(tensor="image", shape=(WIDTH,))),
        stage("rest", InputSpec(tensor="h", shape=(6,), continues=digest)),
    )
    fog = BundleManifest(format=1, name="f", task="t", tier="fog", stages=above, files={})
    write_bundle(folder / "fog", fog, {"whole": script(WIDTH, 4), "rest": script(6, 4)})
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("confidence", 0.8)) for each in stages]
    write_release(folder, "r", "t", [*gates, *[StageGate("fog", each.name, GateSpec("always")) for each in above]])


def test_what_a_segment_sends_is_kept_beside_what_the_others_of_its_model_send(evaluate, folder):
    for name, exits in (("one", ["exit1"]), ("both", ["exit1", "exit2"])):
        write_release_that_sends(folder / name, *exits)
    first = evaluate("--release", str(folder / "one"))
    evaluate("--release", str(folder / "both"))
    again = evaluate("--release", str(folder / "one"))
    assert first["thresholds_moved"] == again["thresholds_moved"]


@pytest.mark.needs_services
@pytest.mark.slow
def test_over_processes_the_same_is_answered(evaluate):
    memory, processes = evaluate(), evaluate("--processes")
    for name in ("device only", "fog only", "cascade"):
        assert memory["systems"][name]["answered_by"] == processes["systems"][name]["answered_by"]
