"""Models in segments, run: what is kept between two of them, what goes up, and how much memory that may take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.adapters.energy.estimate import joules_of
from cascade.adapters.hidden_store import HiddenStore, rows_of
from cascade.adapters.stage_runner import StageRunner
from cascade.adapters.world import InMemoryCascade
from cascade.errors import BundleRejected, ModelRejected
from cascade.inference.effects import RunStage
from cascade.inference.events import BadSample, Predicted, RunFailed
from cascade.inference.watch_words import Look
from cascade.messages import ClassScores, Key, Question, Tensor
from cascade.release.bundle import (
    BundleManifest,
    Costs,
    InputSpec,
    OutputSpec,
    SentSpec,
    StageGate,
    StageSpec,
    Tier,
    stage_digest,
)
from cascade.release.costs import whole_costs
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Dequantise, Quantise
from cascade.release.segments import travelling
from cloud_service.calibrating.adopting import open_all

SURE, UNSURE = (0.0, 1.0), (0.5, 0.5)
LABELS = ("no", "yes")
WIDTH = 400
"""Numbers of an input: the scores of both exits, those of the cloud, and noise, so that the input is large."""
SMALL = (Quantise(scale=1 / 254, dtype="uint8"),)
NAN_ON = 0.77


def script(shape_in: int, at: int = 0, hidden: int = 0, **more: Any) -> bytes:
    """Scores are two numbers of its input; what it hands on are those after them."""
    outputs = {"y": [2]} | ({"h": [hidden]} if hidden else {})
    return msgspec.json.encode({"script": "echo", "inputs": {"x": [shape_in]}, "outputs": outputs, "at": at} | more)


def stage(name: str, spec: InputSpec, **more: Any) -> StageSpec:
    usual: dict[str, Any] = {"output": OutputSpec(kind="classes", tensor="y"), "labels": LABELS, "file": name}
    return StageSpec(name=name, format="scripted", inputs=(spec,), **(usual | more))


def hidden_input(segment: str, width: int) -> InputSpec:
    return InputSpec(tensor="h", shape=(width,), segment=segment)


EXIT1 = stage("exit1", InputSpec(tensor="image", shape=(WIDTH,)), costs=Costs(multiply_adds=1000))
EXIT2 = stage(
    "exit2",
    hidden_input("exit1", 6),
    costs=Costs(multiply_adds=500),
    sends=(SentSpec(output="h", shape=(4,), features=SMALL),),
)
MODELS = {"exit1": script(WIDTH, hidden=6), "exit2": script(6, hidden=4)}


def write(folder: Path, tier: Tier, stages: Sequence[StageSpec], models: dict[str, bytes]) -> BundleManifest:
    manifest = BundleManifest(format=1, name=tier, task="t", tier=tier, stages=tuple(stages), files={})
    return write_bundle(folder / tier, manifest, models).manifest


def write_edge(folder: Path, models: dict[str, bytes] = MODELS, stages: Sequence[StageSpec] = (EXIT1, EXIT2)) -> str:
    """The digest of its last segment."""
    manifest = write(folder, "edge", stages, models)
    return stage_digest(manifest.stages[-1], manifest)


def gates(tier: Tier, *names: str, last: str = "confidence") -> list[StageGate]:
    specs = [GateSpec("confidence", 0.8) for _ in names[1:]] + [GateSpec(last, 0.8 if last == "confidence" else None)]
    return [StageGate(tier=tier, stage=name, gate=spec) for name, spec in zip(names, specs, strict=True)]


class Bench:
    """The device's two segments, run without a hop."""

    def __init__(self, release: LoadedRelease, hidden_bytes: int) -> None:
        self.runner = StageRunner(hidden_bytes=hidden_bytes)
        self.release = self.runner.install(release).release

    def run(self, stage: str, *questions: Question) -> Predicted:
        done = self.runner.run(RunStage(1, "t", self.release, stage, questions))
        assert isinstance(done, Predicted), done
        return done

    def labels(self, stage: str, *questions: Question) -> list[Any]:
        return [
            result.best if isinstance(result, ClassScores) else result for result in self.run(stage, *questions).results
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def built(hidden_bytes: int = 1 << 20, **edge: Any) -> Bench:
        write_edge(tmp_path, **edge)
        write_release(tmp_path, "r", "t", gates("edge", "exit1", "exit2"))
        return Bench(open_release(tmp_path, "edge"), hidden_bytes)

    return built


def image(*scores: Sequence[float]) -> np.ndarray[Any, Any]:
    told = np.concatenate([np.array(each) for each in scores])
    return np.concatenate([told, np.random.default_rng(0).random(WIDTH - len(told))]).astype(np.float32)


def question(id: str, *scores: Sequence[float], array: np.ndarray[Any, Any] | None = None) -> Question:
    array = image(*scores) if array is None else array
    payload = (Tensor("image", "float32", array.shape, array.tobytes()),)
    return Question(id=id, device="a.b", stream="s", sequence=1, task="t", release="r", payload=payload, ms_left=1000.0)


NO_YES = question("q1", (1.0, 0.0), SURE)
YES_NO = question("q2", SURE, (1.0, 0.0))


def joules(spec: StageSpec) -> float:
    return joules_of(whole_costs(spec))


def without_input(asked: Question) -> Question:
    """So that the segments before can't run again."""
    return msgspec.structs.replace(asked, payload=())


def test_a_segment_goes_on_from_what_the_one_before_it_left(bench):
    some = bench()
    assert some.labels("exit1", NO_YES, YES_NO) == [0, 1]
    assert some.labels("exit2", without_input(NO_YES), without_input(YES_NO)) == [1, 0]


def test_questions_of_several_batches_meet_in_one(bench):
    some = bench()
    some.run("exit1", NO_YES, question("q3", SURE, SURE))
    some.run("exit1", YES_NO)
    assert some.labels("exit2", without_input(YES_NO), without_input(NO_YES)) == [0, 1]


def test_features_that_are_gone_are_computed_again(bench):
    some = bench(hidden_bytes=0)
    some.run("exit1", NO_YES)
    assert some.labels("exit2", NO_YES, YES_NO) == [1, 0]


def test_what_is_computed_again_is_paid_for_again(bench):
    some = bench()
    some.run("exit1", NO_YES)
    kept, lost = some.run("exit2", NO_YES), some.run("exit2", YES_NO)
    assert kept.joules == pytest.approx(joules(EXIT2))
    assert lost.joules == pytest.approx(joules(EXIT1) + joules(EXIT2))


def test_only_those_whose_features_are_gone_pay(bench):
    some = bench()
    some.run("exit1", NO_YES)
    assert some.run("exit2", NO_YES, YES_NO).joules == pytest.approx(joules(EXIT1) + 2 * joules(EXIT2))


def test_a_sample_that_can_not_be_read_again_harms_no_other(bench):
    some = bench()
    some.run("exit1", NO_YES)
    assert some.labels("exit2", without_input(YES_NO), NO_YES) == [BadSample("no tensor image"), 1]


def test_what_ends_frees_what_it_held(bench):
    some = bench()
    some.run("exit1", NO_YES, YES_NO)
    some.runner.free(NO_YES.key)
    assert len(some.runner.hidden) == 1
    some.runner.free(YES_NO.key)
    assert (len(some.runner.hidden), some.runner.hidden.bytes) == (0, 0)


def test_what_no_segment_needs_any_more_is_not_held(bench):
    some = bench()
    some.run("exit1", NO_YES)
    held = some.runner.hidden.bytes
    some.run("exit2", NO_YES)
    assert 0 < some.runner.hidden.bytes < held


def test_a_segment_that_fails_leaves_what_it_was_given(bench):
    some = bench(models=MODELS | {"exit2": script(6, hidden=4, fail_every=1)})
    some.run("exit1", NO_YES)
    done = some.runner.run(RunStage(1, "t", some.release, "exit2", (NO_YES,)))
    assert isinstance(done, RunFailed)
    assert len(some.runner.hidden) == 1


def test_memory_is_bounded_and_the_oldest_go_first(bench):
    some = bench(hidden_bytes=1600)
    for number in range(50):
        some.run("exit1", question(f"q{number}", SURE, SURE))
        assert some.runner.hidden.bytes <= 1600
    assert some.runner.hidden.newest(question("q49", SURE).key, "exit1")
    assert some.runner.hidden.newest(question("q0", SURE).key, "exit1") is None


def test_a_row_that_is_kept_does_not_keep_its_batch():
    store = HiddenStore()
    whole = np.zeros((64, 1000), np.float32)
    rows = rows_of({"h": whole}, ("h",), 64)
    assert all(each["h"].base is None for each in rows)
    store.put(Key("d", "q", b""), "segment", rows[0])
    assert store.bytes < 5000


def test_what_is_sent_is_small_whole_numbers_and_names_its_segment(bench):
    some = bench()
    asked = question("q1", UNSURE, UNSURE, (0.0, 1.0, 0.5, 0.25))
    some.run("exit1", asked)
    some.run("exit2", asked)
    sent = some.runner.sendable(asked, "exit2")
    assert (sent.payload[0].dtype, sent.payload[0].shape) == ("uint8", (4,))
    assert list(sent.payload[0].data) == [0, 254, 127, 64]
    assert len(sent.hidden) == 16
    assert sent.key == asked.key


def test_a_number_that_is_none_is_not_sent(bench):
    some = bench(models=MODELS | {"exit2": script(6, hidden=4, nan_on=NAN_ON)})
    asked = question("q1", UNSURE, (NAN_ON, 0.0))
    some.run("exit1", asked)
    some.run("exit2", asked)
    assert some.runner.sendable(asked, "exit2") is None


def test_what_was_never_computed_is_not_sent(bench):
    assert bench().runner.sendable(NO_YES, "exit2") is None


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (MODELS | {"exit1": script(WIDTH, hidden=5)}, r"output h as \(6,\): found it of shape \(1, 5\)"),
        (MODELS | {"exit1": script(WIDTH)}, "found it among y"),
    ],
)
def test_a_segment_that_hands_on_something_else_is_refused(bench, models, said):
    with pytest.raises(ModelRejected, match=said):
        bench(models=models)


def test_a_watch_can_not_look_with_a_later_segment(bench):
    some = bench()
    looked = some.runner.look("t", some.release, "exit2", Look({"h": np.zeros(6, np.float32)}, {}, None))
    assert "goes on from exit1" in looked.why


# Up to the hop above, in memory


def write_cascade(folder: Path, *, continuation: bool = True) -> Path:
    digest = write_edge(folder)
    whole = stage("whole", InputSpec(tensor="image", shape=(WIDTH,)))
    rest = stage(
        "rest",
        InputSpec(tensor="h", shape=(4,), dtype="uint8", features=(Dequantise(scale=1 / 254),), continues=digest),
    )
    above = (whole, rest) if continuation else (whole,)
    models = {"whole": script(WIDTH, at=4), "rest": script(4)}
    write(folder, "fog", above, {each.name: models[each.name] for each in above})
    names = [each.name for each in above]
    write_release(folder, "r", "t", gates("edge", "exit1", "exit2") + gates("fog", *names, last="always"))
    return folder


HARD = image(UNSURE, UNSURE, SURE)


def test_the_hop_above_goes_on_from_the_hidden_features(tmp_path):
    with InMemoryCascade(write_cascade(tmp_path)) as cascade:
        answer = cascade.ask(HARD)
        assert (answer.label, answer.tier) == ("yes", "fog")
        assert [(step.stage, step.sent) for step in answer.trail] == [("exit1", ""), ("exit2", "hidden"), ("rest", "")]
        assert cascade.totals().bytes_up["edge"] < 300


def test_an_answer_of_an_early_exit_costs_nothing_of_the_later_ones(tmp_path):
    with InMemoryCascade(write_cascade(tmp_path)) as cascade:
        assert [step.stage for step in cascade.ask(image(SURE)).trail] == ["exit1"]


def test_a_hop_that_lacks_the_continuation_gets_the_input(tmp_path):
    with InMemoryCascade(write_cascade(tmp_path, continuation=False)) as cascade:
        first, second = cascade.ask(HARD), cascade.ask(HARD)
        assert [(step.stage, step.sent) for step in first.trail] == [
            ("exit1", ""), ("exit2", "hidden, input"), ("whole", ""),
        ]  # fmt: skip
        assert [step.sent for step in second.trail] == ["", "", ""]
        assert (first.label, second.label) == ("yes", "yes")


def test_after_all_answers_nothing_is_held(tmp_path):
    with InMemoryCascade(write_cascade(tmp_path)) as cascade:
        for number in range(20):
            cascade.ask(image(SURE if number % 3 else UNSURE, SURE if number % 2 else UNSURE, SURE))
        runner = cascade._models._runners["edge"]
        assert (len(runner.hidden), runner.hidden.bytes) == (0, 0)


def test_a_release_whose_continuation_fits_no_segment_below_is_refused(tmp_path):
    write_cascade(tmp_path)
    write_edge(tmp_path, MODELS | {"exit1": script(WIDTH, hidden=6, delay_ms=1)})
    with pytest.raises(BundleRejected, match="stage rest goes on from a segment that no tier below sends"):
        write_release(tmp_path, "r", "t", gates("edge", "exit1", "exit2") + gates("fog", "whole", "rest"))


def test_of_a_ladder_with_a_continuation_the_model_that_takes_the_input_stands_at_the_top(tmp_path):
    assert open_all(write_cascade(tmp_path)).places == (
        ("edge", "exit1"), ("edge", "exit2"), ("fog", "rest"), ("fog", "whole"),
    )  # fmt: skip


def test_the_question_names_the_very_segment(tmp_path):
    manifest = write(tmp_path, "edge", (EXIT1, EXIT2), MODELS)
    write_release(tmp_path, "r", "t", gates("edge", "exit1", "exit2"))
    some = Bench(open_release(tmp_path, "edge"), 1 << 20)
    some.run("exit1", NO_YES)
    some.run("exit2", NO_YES)
    sent = some.runner.sendable(NO_YES, "exit2")
    assert sent.hidden == travelling(stage_digest(manifest.stages[1], manifest))
