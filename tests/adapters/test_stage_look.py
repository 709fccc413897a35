"""Stages that look at a stream: states carried from window to window, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BundleRejected
from cascade.inference.watch_words import Look, Looked
from cascade.messages import AnomalyScore, Energy
from cascade.release.bundle import BundleManifest, Costs, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec


def summing_model() -> bytes:
    """Adds up all that it ever heard, times a gain: `sum_out = sum + gain * x`, and the score is the sum."""
    nodes = [
        helper.make_node("Cast", ["gain"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "factor"], ["louder"]),
        helper.make_node("Transpose", ["louder"], ["turned"], perm=[1, 0]),
        helper.make_node("Add", ["sum", "turned"], ["sum_out"]),
        helper.make_node("Transpose", ["sum_out"], ["score"], perm=[1, 0]),
    ]
    inputs = [("x", TensorProto.FLOAT, ["n", 1]), ("sum", TensorProto.FLOAT, [1, "n"]), ("gain", TensorProto.INT64, [])]
    outputs = [("score", TensorProto.FLOAT, ["n", 1]), ("sum_out", TensorProto.FLOAT, [1, "n"])]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def release_of(folder: Path, carried: str = "sum_out") -> LoadedRelease:
    stage = StageSpec(
        name="sum",
        file="m.onnx",
        format="onnx",
        inputs=(
            InputSpec(tensor="x", shape=(1,), model_input="x"),
            InputSpec(tensor="sum", shape=(1,), model_input="sum", batch_axis=1, carried=carried),
            InputSpec(tensor="gain", shape=(), dtype="int64", model_input="gain", value=2.0),
        ),
        output=OutputSpec(kind="anomaly", tensor="score", limit=0.5),
        costs=Costs(multiply_adds=10),
    )
    manifest = BundleManifest(format=1, name="b", task="t", tier="edge", stages=(stage,), files={})
    write_bundle(folder / "edge", manifest, {"m.onnx": summing_model()})
    write_release(folder, "r", "t", [StageGate(tier="edge", stage="sum", gate=GateSpec("confidence", 0.5))])
    return open_release(folder, "edge")


def looker(folder: Path) -> tuple[StageRunner, LoadedRelease]:
    runner, release = StageRunner(), release_of(folder)
    runner.install(release)
    return runner, release


def test_what_a_model_carries_goes_from_one_window_to_the_next(tmp_path: Path) -> None:
    runner, release = looker(tmp_path)
    carried, scores = {}, []
    for number in (0.05, 0.1, 0.2):
        window = {"input": np.array([number], np.float32)}
        ran = runner.look("t", release.id, "sum", Look(window, None, carried))
        assert isinstance(ran.looked.prediction, AnomalyScore), ran.why
        scores.append(ran.looked.prediction.score)
        carried = ran.looked.carried
    assert scores == pytest.approx([0.1, 0.3, 0.7])
    assert (ran.energy, ran.joules > 0) == (Energy.ESTIMATED, True)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (np.zeros((2,), np.float32), "expected float32 (1,)"),
        (np.zeros((1,), np.float64), "tensor x is float64"),
        (np.array([np.nan], np.float32), "not finite"),
    ],
)
def test_a_window_that_is_none_for_the_model_is_bad_input(tmp_path: Path, window: np.ndarray, said: str) -> None:
    runner, release = looker(tmp_path)
    ran = runner.look("t", release.id, "sum", Look({"input": window}))
    assert ran.looked == Looked(None, bad_input=True)
    assert said in ran.why


def test_a_stage_that_is_not_there_fails_the_look_and_not_the_stream(tmp_path: Path) -> None:
    runner, release = looker(tmp_path)
    assert runner.look("t", release.id, "none", Look({})).looked == Looked(None)


def test_a_state_that_the_model_does_not_give_is_told_when_it_is_installed(tmp_path: Path) -> None:
    with pytest.raises(BundleRejected, match="output nothing is carried to input sum"):
        StageRunner().install(release_of(tmp_path, carried="nothing"))
