"""A bundle and the engine that it needs: what is told where it is missing, and that no other one is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cascade.adapters.backends import onnx
from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BundleRejected
from cascade.inference.effects import RunStage
from cascade.inference.events import Predicted
from cascade.messages import ClassScores, Question, Tensor
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec


def release_of(folder: Path, kind: str, model: bytes, **output: str) -> LoadedRelease:
    stage = StageSpec(
        name="s",
        file="m",
        format=kind,
        inputs=(InputSpec(tensor="x", shape=(4,)),),
        output=OutputSpec(**({"kind": "classes", "activation": "softmax"} | output)),  # type: ignore[arg-type]
        labels=("a", "b", "c"),
    )
    manifest = BundleManifest(format=1, name="b", task="t", tier="edge", stages=(stage,), files={})
    write_bundle(folder / "edge", manifest, {"m": model})
    write_release(folder, "r", "t", [StageGate(tier="edge", stage="s", gate=GateSpec("confidence", 0.8))])
    return open_release(folder, "edge")


def asked(samples: np.ndarray) -> tuple[Question, ...]:
    return tuple(
        Question(
            id=str(number),
            device="a.b",
            stream="s",
            sequence=number,
            task="t",
            release="r",
            payload=(Tensor("x", "float32", (4,), sample.astype(np.float32).tobytes()),),
            ms_left=1000.0,
        )
        for number, sample in enumerate(samples)
    )


def test_a_bundle_whose_engine_is_missing_names_the_extra_to_install(
    tmp_path: Path, files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = release_of(tmp_path, "onnx", files.linear_onnx().SerializeToString())
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(BundleRejected, match=r"needs the engine onnx; .*pip install '\.\[edge-onnx\]'"):
        StageRunner().install(release)


def test_a_bundle_for_an_engine_that_nobody_knows_says_which_there_are(tmp_path: Path) -> None:
    release = release_of(tmp_path, "torch", b"anything")
    with pytest.raises(BundleRejected, match="needs the engine torch; this machine has onnx, scripted, tflite"):
        StageRunner().install(release)


def test_an_agent_with_onnx_models_does_not_load_the_other_runtime(tmp_path: Path, files: ModuleType) -> None:
    release_of(tmp_path, "onnx", files.linear_onnx().SerializeToString())
    code = """
import sys
from pathlib import Path
from cascade.adapters.bundle_folder import open_release
from cascade.adapters.stage_runner import StageRunner
StageRunner().install(open_release(Path(sys.argv[1]), "edge"))
sys.exit(any(name.startswith(("ai_edge_litert", "tflite_runtime")) for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_a_quantised_model_is_asked_in_real_numbers_and_answers_in_them(tmp_path: Path, files: ModuleType) -> None:
    release = release_of(tmp_path, "tflite", files.linear_tflite(quantised=True))
    runner = StageRunner()
    ladder = runner.install(release)
    x = np.random.default_rng(2).uniform(-1.9, 1.9, (19, 4)).astype(np.float32)
    done = runner.run(RunStage(1, "t", ladder.release, "s", asked(x)))
    assert isinstance(done, Predicted)
    powers = np.exp(files.linear(x))
    expected = powers / powers.sum(axis=1, keepdims=True)
    scores = [result.scores for result in done.results if isinstance(result, ClassScores)]
    np.testing.assert_allclose(scores, expected, atol=0.02)


def test_a_float_model_answers_a_question_alone_as_in_a_batch(tmp_path: Path, files: ModuleType) -> None:
    runner = StageRunner()
    ladder = runner.install(release_of(tmp_path, "tflite", files.linear_tflite()))
    x = np.random.default_rng(3).uniform(-1.9, 1.9, (17, 4)).astype(np.float32)
    questions = asked(x)
    together = runner.run(RunStage(1, "t", ladder.release, "s", questions))
    assert isinstance(together, Predicted)
    for question, result in zip(questions, together.results, strict=True):
        alone = runner.run(RunStage(2, "t", ladder.release, "s", (question,)))
        assert isinstance(alone, Predicted)
        assert isinstance(alone.results[0], ClassScores)
        assert isinstance(result, ClassScores)
        np.testing.assert_allclose(alone.results[0].scores, result.scores, atol=1e-6)


def test_one_sample_that_is_no_probability_leaves_the_rounding_of_others_mended(
    tmp_path: Path, files: ModuleType
) -> None:
    model = files.script(inputs={"x": [4]}, outputs={"y": [3]}, at=1)
    runner = StageRunner()
    ladder = runner.install(release_of(tmp_path, "scripted", model, activation="none"))
    rows = np.array([[1, 1.00005, 0, 0], [1, 7.0, 0, 0], [1, 0.2, 0.8, 0]])
    done = runner.run(RunStage(1, "t", ladder.release, "s", asked(rows)))
    assert isinstance(done, Predicted)
    readable = [result.readable() for result in done.results if isinstance(result, ClassScores)]
    assert readable == [True, False, True]
