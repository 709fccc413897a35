"""`cascade release` with model files: what a person says on the command line is what the release has."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cascade.adapters.bundle_folder import open_release
from cascade.adapters.world import InMemoryCascade
from cascade_cli.__main__ import main

LABELS = ("cat", "dog", "cow")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two by two numbers to three logits."""
    weights = [
        numpy_helper.from_array(np.eye(4, 3, dtype=np.float32) * 3, "w"),
        numpy_helper.from_array(np.array([-1, 4], np.int64), "s"),
    ]
    nodes = [helper.make_node("Reshape", ["x", "s"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 2])]
    gives = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])]
    graph = helper.make_graph(nodes, "g", given, gives, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "my model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.fixture
def cascade(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the command in `tmp_path`; its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> object:
        monkeypatch.setattr(sys, "argv", ["cascade", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    return run


def test_two_model_files_become_a_release(cascade, model, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n")
    words = ["--edge", model, "--cloud", model, "--labels", "labels.txt", "--dtype", "uint8", "--divide", "255"]
    assert cascade("release", "pets", *words, "--threshold", "0.9") == 0
    said = capsys.readouterr().out
    assert "note: my model.onnx gives no probabilities: a softmax makes them some" in said
    assert "gate confidence 0.9" in said
    edge = open_release(tmp_path / "pets", "edge")
    (stage,) = edge.bundle.manifest.stages
    assert (edge.manifest.name, edge.manifest.task, stage.labels) == ("pets", "pets", LABELS)
    assert (stage.name, stage.inputs[0].dtype, stage.inputs[0].features[1].divide) == ("my-model", "uint8", 255.0)


def test_a_value_may_be_for_one_tier_alone(cascade, model, tmp_path):
    each = ["--threshold", "0.9", "--threshold", "fog=0.7", "--divide", "255", "--divide", "cloud=1"]
    assert cascade("release", "r", "--edge", model, "--fog", model, "--cloud", model, *each) == 0
    gates = {entry.tier: entry.gate for entry in open_release(tmp_path / "r", "edge").manifest.gates}
    assert [gates[tier].threshold for tier in ("edge", "fog", "cloud")] == [0.9, 0.7, None]
    assert gates["cloud"].name == "always"
    stages = {tier: open_release(tmp_path / "r", tier).bundle.manifest.stages[0] for tier in ("edge", "cloud")}
    assert (len(stages["edge"].inputs[0].features), len(stages["cloud"].inputs[0].features)) == (2, 1)


def test_the_topmost_can_be_given_a_gate_by_its_name(cascade, model, tmp_path):
    assert cascade("release", "r", "--edge", model, "--cloud", model, "--threshold", "cloud=0.5") == 0
    gates = {entry.tier: entry.gate for entry in open_release(tmp_path / "r", "cloud").manifest.gates}
    assert (gates["cloud"].name, gates["cloud"].threshold) == ("confidence", 0.5)


@pytest.mark.parametrize("level", [0, 16, 255])
def test_an_image_of_one_grey_is_refused_unless_it_is_fine(cascade, model, tmp_path, capsys, level):
    words = ["--edge", model, "--cloud", model, "--dtype", "uint8", "--divide", "255"]
    assert cascade("release", "r", *words) == 0
    assert "a sample whose numbers are all the same is refused" in capsys.readouterr().out
    flat = np.full((2, 2), level, np.uint8)
    with InMemoryCascade(tmp_path / "r") as running:
        assert (running.ask(flat).outcome, running.ask(flat).reason) == ("refused", "bad_input")
    assert cascade("release", "r", *words, "--flat-is-fine") == 0
    with InMemoryCascade(tmp_path / "r") as running:
        assert running.ask(flat).outcome == "answered"


def test_what_stands_at_its_limits_is_refused_from_a_share_on(cascade, model, tmp_path):
    assert cascade("release", "r", "--edge", model, "--dtype", "int16", "--clipped-share", "0.5") == 0
    with InMemoryCascade(tmp_path / "r") as running:
        assert running.ask(np.array([[32767, -32768], [1, 2]], np.int16)).reason == "bad_input"
        assert running.ask(np.array([[32767, 3], [1, 2]], np.int16)).outcome == "answered"


def test_cues_and_care_go_into_the_release(cascade, model, tmp_path):
    words = ["--edge", model, "--cloud", model, "--cues", "edge=mean,roughness", "--care", "3"]
    assert cascade("release", "r", *words) == 0
    edge, cloud = (open_release(tmp_path / "r", tier) for tier in ("edge", "cloud"))
    assert edge.bundle.manifest.stages[0].cues == ("mean", "roughness")
    assert cloud.bundle.manifest.stages[0].cues == ()
    assert edge.ladder.care.most == 3.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "edge=7"], "found a threshold of 7, expected one from 0 to 1 for the gate confidence"),
        (["--threshold", "edge=nan"], "found a threshold of nan, expected one from 0 to 1 for the gate confidence"),
        (["--gate", "edge=always", "--threshold", "edge=0.5"], "the gate always reads no threshold"),
        (["--threshold", "0.9"], "the edge alone has none: it always answers. --threshold edge=… gives it a gate"),
        (["--threshold", "cloud=0.9"], "--threshold cloud=…: there is no model for the cloud here"),
    ],
)
def test_a_threshold_that_can_mean_nothing_is_refused(cascade, model, tmp_path, capsys, words, said):
    assert cascade("release", "r", "--edge", model, *words) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clipped-share", "2"], "found '2', expected a share from above 0 to 1"),
        (["--care", "0.5"], "found '0.5', expected a number from 1 on"),
        (["--cues", "mean,smell"], "found 'mean,smell', expected some of mean, deviation, largest, roughness"),
        (["--threshold", "moon=1"], "no tier is called 'moon'; there are edge, fog, cloud"),
        (["--threshold", "high"], "found 'high', expected a number"),
        (["--shape", "2,two"], "found '2,two', expected sizes, as 96,96,3"),
        (["--labels", "gone.txt"], "found 'gone.txt', which is no file; expected one, or labels as cat,dog"),
        (["--activation", "relu"], "found 'relu', expected one of none, softmax, sigmoid"),
        (["--gate", "sesame"], "found 'sesame', expected one of always, "),
    ],
)
def test_a_wrong_word_is_told_with_what_was_expected(cascade, model, capsys, words, said):
    assert cascade("release", "r", "--edge", model, *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "cat,dog"], "gives 3 scores, and there are 2 labels"),
        (["--shape", "3,3"], "takes samples of 2×2, and a sample here is 3×3"),
        (["--name", "no spaces"], "name: found 'no spaces', expected letters, digits"),
        (["--kind", "anomaly"], "gives 3 numbers, where an anomaly score is one"),
    ],
)
def test_what_does_not_fit_the_model_is_told_and_nothing_is_written(cascade, model, tmp_path, capsys, words, said):
    assert cascade("release", "r", "--edge", model, *words) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["my model.onnx"]


FOG = """
[gateway]
name = "barn.gw1"
site = "barn"
[below]
host = "127.0.0.1"
[[tasks]]
name = "r"
release = "r"
"""
ABOVE = """
[above]
host = "127.0.0.1"
insecure_ok = true
"""


def test_a_gateway_needs_no_model_of_its_own_while_somebody_is_above(cascade, model, tmp_path, capsys):
    cascade("release", "r", "--edge", model, "--cloud", model)
    (tmp_path / "fog.toml").write_text(FOG + ABOVE)
    capsys.readouterr()
    assert cascade("check", "fog.toml") == 0
    assert "task r: its release has no model for this tier, so its questions are passed on" in capsys.readouterr().out
    (tmp_path / "fog.toml").write_text(FOG)
    assert cascade("check", "fog.toml") == 2
    assert "no bundle for tier fog" in capsys.readouterr().err
