"""The stage runner: questions in, predictions out; one bad sample harms no other, and a bad model nobody."""

from __future__ import annotations

import math
import re
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cascade.adapters.backends.backend import EngineSettings
from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.adapters.stage_runner import LoadedStage, StageRunner
from cascade.errors import BundleRejected
from cascade.inference.effects import RunStage
from cascade.inference.events import BadSample, Predicted, RunFailed
from cascade.messages import ClassScores, Energy, Question, Tensor
from cascade.release.bundle import (
    BundleManifest,
    Costs,
    InputSpec,
    Normalise,
    OutputSpec,
    Requirements,
    StageGate,
    StageSpec,
)
from cascade.release.ladder import GateSpec

SURE, UNSURE = [0.9, 0.1], [0.5, 0.5]
MARK = 0.75
"""The first score of a sample on which a script misbehaves."""


def make_release(
    folder: Path, model: bytes, more_files: dict[str, bytes] | None = None, memory_bytes: int = 0, **changes: Any
) -> LoadedRelease:
    described: dict[str, Any] = {
        "name": "s",
        "file": "m",
        "format": "scripted",
        "inputs": (InputSpec(tensor="x", shape=(2,)),),
        "output": OutputSpec(kind="classes"),
        "labels": ("no", "yes"),
    }
    stage = StageSpec(**(described | changes))
    manifest = BundleManifest(
        format=1,
        name="b",
        task="t",
        tier="edge",
        stages=(stage,),
        files={},
        requirements=Requirements(memory_bytes=memory_bytes),
    )
    write_bundle(folder / "edge", manifest, {"m": model, **(more_files or {})})
    write_release(folder, "r", "t", [StageGate(tier="edge", stage="s", gate=GateSpec("confidence", 0.8))])
    return open_release(folder, "edge")


def script(**more: Any) -> bytes:
    return msgspec.json.encode({"script": "echo", "inputs": {"x": [2]}, "outputs": {"y": [2]}, **more})


def tensor(numbers: Sequence[float], dtype: str = "float32", **changes: Any) -> Tensor:
    array = np.array(numbers, dtype=dtype)
    return msgspec.structs.replace(Tensor("x", dtype, array.shape, array.tobytes()), **changes)


def question(*payload: Tensor) -> Question:
    return Question(
        id="q", device="a.b", stream="s", sequence=1, task="t", release="r", payload=payload, ms_left=1000.0
    )


class Bench:
    """One installed release, and what its only stage makes of a batch."""

    def __init__(self, release: LoadedRelease, runner: StageRunner | None = None) -> None:
        self.runner = runner or StageRunner()
        self.ladder = self.runner.install(release)

    def run(self, *questions: Question) -> Predicted | RunFailed:
        return self.runner.run(RunStage(7, "t", self.ladder.release, "s", questions))

    def ask(self, *samples: Tensor | Sequence[float]) -> Sequence[Any]:
        given = [sample if isinstance(sample, Tensor) else tensor(sample) for sample in samples]
        done = self.run(*(question(each) for each in given))
        assert isinstance(done, Predicted), done
        assert done.run == 7
        assert len(done.results) == len(samples)
        return done.results


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def built(model: bytes | None = None, **changes: Any) -> Bench:
        return Bench(make_release(tmp_path / "release", model or script(), **changes))

    return built


def scores(*values: float) -> ClassScores:
    return ClassScores(tuple(float(np.float32(value)) for value in values))


def test_a_batch_answers_each_question_in_its_place(bench: Callable[..., Bench]) -> None:
    assert bench().ask(SURE, UNSURE, [0.2, 0.8]) == (scores(*SURE), scores(*UNSURE), scores(0.2, 0.8))


def test_a_batch_larger_than_the_model_takes_is_split(bench: Callable[..., Bench]) -> None:
    samples = [[i / 10, 1 - i / 10] for i in range(10)]
    one_by_one = bench(max_batch=3)
    assert one_by_one.ask(*samples) == tuple(scores(*sample) for sample in samples)


def test_compressed_tensors_are_unpacked(bench: Callable[..., Bench]) -> None:
    raw = tensor(SURE)
    assert bench().ask(msgspec.structs.replace(raw, data=zlib.compress(raw.data), encoding="zlib")) == (scores(*SURE),)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (tensor(SURE, name="y"), "no tensor x"),
        (tensor(SURE, dtype="float64"), "float64"),
        (tensor([0.1, 0.2, 0.7]), r"\(3,\)"),
        (tensor(SURE, data=b"short"), "8 bytes"),
        (tensor(SURE, data=b"rubbish", encoding="zlib"), "decompression"),
        (tensor(SURE, data=zlib.compress(bytes(10_000_000)), encoding="zlib"), "decompression"),
        (tensor(SURE, encoding="gzip"), "gzip"),
        (tensor([math.nan, 0.0]), "finite"),
        (tensor([math.inf, 0.0]), "finite"),
        (tensor([math.inf, -math.inf]), "finite"),
    ],
    ids=["name", "dtype", "shape", "short", "corrupt", "bomb", "encoding", "nan", "inf", "infs that cancel out"],
)
def test_a_bad_sample_is_told_so_in_its_place_and_harms_no_other(
    bench: Callable[..., Bench], bad: Tensor, said: str
) -> None:
    first, wrong, last = bench().ask(SURE, bad, UNSURE)
    assert (first, last) == (scores(*SURE), scores(*UNSURE))
    assert isinstance(wrong, BadSample)
    assert re.search(said, wrong.reason)


def test_what_is_wrong_with_a_sample_is_said_once_in_the_log(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    made = bench()
    for _ in range(3):
        made.ask(SURE + SURE)
    told = [record.getMessage() for record in caplog.records if "bad input" in record.getMessage()]
    assert len(told) == 1
    assert "tensor x is float32 (4,); expected float32 (2,)" in told[0]


def test_a_batch_of_nothing_but_bad_samples_is_answered_without_the_model(bench: Callable[..., Bench]) -> None:
    results = bench(script(fail_every=1)).ask(tensor([math.nan, 0.0]), tensor(SURE, name="y"))
    assert all(isinstance(result, BadSample) for result in results)


def test_numbers_whose_sum_is_too_large_are_still_numbers(bench: Callable[..., Bench]) -> None:
    assert bench().ask([3e38, 3e38]) == (scores(3e38, 3e38),)


def test_an_unreadable_output_stays_a_prediction_for_the_gate_to_see(bench: Callable[..., Bench]) -> None:
    fine, spoiled = bench(script(nan_on=MARK)).ask(SURE, [MARK, 0.25])
    assert fine == scores(*SURE)
    assert isinstance(spoiled, ClassScores)
    assert not spoiled.readable()


def test_a_batch_that_fails_fails_whole_and_the_hop_tries_its_questions_alone(bench: Callable[..., Bench]) -> None:
    poisoned = bench(script(fail_on=MARK))
    samples = [tensor(SURE), tensor([MARK, 0.25]), tensor(UNSURE)]
    assert isinstance(poisoned.run(*[question(sample) for sample in samples]), RunFailed)
    outcomes = [type(poisoned.run(question(sample))) for sample in samples]
    assert outcomes == [Predicted, RunFailed, Predicted]


def test_a_model_that_fails_alone_fails(bench: Callable[..., Bench]) -> None:
    assert isinstance(bench(script(fail_on=MARK)).run(question(tensor([MARK, 0.25]))), RunFailed)


def test_a_broken_model_does_not_fill_the_log(bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    broken = bench(script(fail_every=1))
    with caplog.at_level("INFO"):
        for _ in range(200):
            broken.run(question(tensor([1.0, 0.25])))
            broken.run(*[question(tensor([1.0, 0.25]))] * 4)
    assert len(caplog.records) == 1


def test_a_model_that_fails_now_and_then_answers_the_next_time(bench: Callable[..., Bench]) -> None:
    moody = bench(script(fail_every=2))
    outcomes = [type(moody.run(question(tensor(SURE)))) for _ in range(4)]
    assert outcomes == [Predicted, RunFailed, Predicted, RunFailed]


def test_outputs_of_a_wrong_shape_are_the_models_failure(bench: Callable[..., Bench]) -> None:
    failed = bench(script(wrong_shape=True)).run(question(tensor(SURE)), question(tensor(SURE)))
    assert isinstance(failed, RunFailed)
    assert "4 scores for 2 labels" in failed.reason


def test_joules_and_milliseconds_are_those_of_the_whole_batch(bench: Callable[..., Bench]) -> None:
    slow = bench(script(delay_ms_per_sample=2.0), costs=Costs(multiply_adds=10**9, bits=8))
    done = slow.run(*(question(tensor(SURE)) for _ in range(3)))
    assert isinstance(done, Predicted)
    assert done.joules == pytest.approx(3 * 0.12e-3, rel=1e-4)
    assert done.energy is Energy.ESTIMATED
    assert done.ms >= 6.0


def test_a_stage_that_is_not_installed_fails_by_name(bench: Callable[..., Bench]) -> None:
    some = bench()
    failed = some.runner.run(RunStage(1, "t", "another", "s", (question(tensor(SURE)),)))
    assert isinstance(failed, RunFailed)
    assert "another" in failed.reason


def test_what_was_removed_no_longer_runs(bench: Callable[..., Bench]) -> None:
    some = bench()
    some.runner.remove("t", some.ladder.release)
    assert isinstance(some.run(question(tensor(SURE))), RunFailed)
    assert some.runner.installed() == []
    some.runner.remove("t", some.ladder.release)


def test_two_releases_of_a_task_run_side_by_side(tmp_path: Path) -> None:
    runner = StageRunner()
    old = Bench(make_release(tmp_path / "old", script()), runner)
    new = Bench(make_release(tmp_path / "new", script(nan_on=MARK)), runner)
    assert old.ask([MARK, 0.25])[0].readable()
    assert not new.ask([MARK, 0.25])[0].readable()
    assert runner.installed() == [("t", old.ladder.release), ("t", new.ladder.release)]


def test_installing_twice_changes_nothing(tmp_path: Path) -> None:
    runner, release = StageRunner(), make_release(tmp_path, script())
    assert runner.install(release) == runner.install(release)
    assert len(runner.installed()) == 1


def test_a_release_is_installed_beside_a_hop_that_runs(tmp_path: Path) -> None:
    running = Bench(make_release(tmp_path / "old", script()))
    coming = make_release(tmp_path / "new", script(delay_ms=1.0))
    installing = threading.Thread(target=running.runner.install, args=(coming,))
    installing.start()
    while installing.is_alive():
        assert running.ask(SURE) == (scores(*SURE),)
    installing.join()
    assert len(running.runner.installed()) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ("a", "b", "c")}, "2 scores for 3 labels"),
        ({"inputs": (InputSpec(tensor="x", shape=(3,)),)}, "shape"),
        ({"inputs": (InputSpec(tensor="x", shape=(2,), model_input="z"),)}, "'z'|input"),
        ({"output": OutputSpec(kind="classes", tensor="z")}, "no output is called 'z'"),
        ({"format": "abacus"}, "abacus"),
        ({"memory_bytes": 10**9}, "bytes of memory"),
    ],
)
def test_a_manifest_that_does_not_fit_its_model_or_machine_shows_when_it_is_installed(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    runner = StageRunner(memory_bytes=10**6)
    with pytest.raises(BundleRejected, match=said):
        runner.install(make_release(tmp_path, script(), **changes))
    assert runner.installed() == []


def test_a_model_that_kills_its_process_does_not_kill_ours(tmp_path: Path) -> None:
    runner = StageRunner(first_loads=FirstLoads(tmp_path / "state"))
    with pytest.raises(BundleRejected, match="died with signal 11"):
        runner.install(make_release(tmp_path / "release", script(crash=True)))


# Real models.


def scaled_onnx(*, external: str = "") -> bytes:
    """Pixels to three scores: the mean of each row of a 3×4 image."""
    weights = np.kron(np.eye(3, dtype=np.float32), np.full((4, 1), 0.25, np.float32))
    initialiser = numpy_helper.from_array(weights, "w")
    if external:
        initialiser.ClearField("raw_data")
        initialiser.data_location = TensorProto.EXTERNAL
        initialiser.external_data.add(key="location", value=external)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [initialiser],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if not external:
        onnx.checker.check_model(model)
    encoded: bytes = model.SerializeToString()
    return encoded


IMAGE = {
    "format": "onnx",
    "labels": ("a", "b", "c"),
    "inputs": (InputSpec(tensor="x", shape=(3, 4), dtype="uint8", features=(Normalise(divide=255.0),)),),
}


def test_a_picture_of_bytes_is_normalised_and_classified(bench: Callable[..., Bench]) -> None:
    images = np.random.default_rng(3).integers(0, 256, (5, 3, 4), dtype=np.uint8)
    results = bench(scaled_onnx(), **IMAGE).ask(*(tensor(image, "uint8") for image in images))
    expected = (images.astype(np.float32) / 255).mean(axis=2)
    assert np.allclose([result.scores for result in results], expected, atol=1e-6)


def test_a_question_has_the_same_answer_alone_and_in_a_batch(bench: Callable[..., Bench]) -> None:
    images = np.random.default_rng(4).integers(0, 256, (64, 3, 4), dtype=np.uint8)
    stage = bench(scaled_onnx(), **IMAGE)
    samples = [tensor(image, "uint8") for image in images]
    together, alone = stage.ask(*samples), [stage.ask(sample)[0] for sample in samples]
    assert np.allclose([a.scores for a in together], [b.scores for b in alone], atol=1e-6)
    assert [a.best for a in together] == [b.best for b in alone]


def test_weights_beside_the_model_must_be_in_the_manifest(tmp_path: Path) -> None:
    weights = np.kron(np.eye(3, dtype=np.float32), np.full((4, 1), 0.25, np.float32)).tobytes()
    model = scaled_onnx(external="weights")
    named = make_release(tmp_path / "named", model, {"weights": weights}, **IMAGE)
    assert Bench(named).ask(tensor(np.full((3, 4), 51), "uint8"))[0].scores == pytest.approx((0.2, 0.2, 0.2))
    unnamed = make_release(tmp_path / "unnamed", model, **IMAGE)
    (unnamed.bundle.folder / "weights").write_bytes(weights)
    with pytest.raises(BundleRejected, match="which the manifest doesn't name"):
        StageRunner().install(unnamed)


def test_a_model_with_a_strange_operator_is_never_loaded(tmp_path: Path) -> None:
    node = helper.make_node("Steal", ["x"], ["y"], domain="evil.example")
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    with pytest.raises(BundleRejected, match=r"evil\.example::Steal is not allowed"):
        StageRunner().install(make_release(tmp_path, model, format="onnx"))


def test_engine_settings_of_a_hop_apply_to_its_models(tmp_path: Path) -> None:
    runner = StageRunner(EngineSettings(max_model_bytes=10))
    with pytest.raises(BundleRejected, match="at most 10 are loaded"):
        runner.install(make_release(tmp_path, script()))


class _Jealous:
    """A model that notices when it is called while it runs."""

    inputs = (type("Spec", (), {"name": "x"})(),)

    def __init__(self) -> None:
        self.inside = self.most_inside = 0
        self.entered = threading.Event()

    def run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        threading.Event().wait(0.05)  # time for the other one to come in
        self.inside -= 1
        return {"y": arrays["x"]}


def test_a_model_has_one_caller_at_a_time_whoever_runs_it(tmp_path: Path) -> None:
    model = _Jealous()
    spec = make_release(tmp_path, script()).bundle.manifest.stages[0]
    stage = LoadedStage(spec, model)  # type: ignore[arg-type]
    asked = [question(tensor(SURE))]
    other = threading.Thread(target=stage.predict, args=(asked,))
    other.start()
    assert model.entered.wait(10)
    assert stage.predict(asked) == (scores(0.9, 0.1),)
    other.join()
    assert model.most_inside == 1
