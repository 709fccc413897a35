"""Bare model files made into a release: what the files say, what is guessed and told, what is refused and why."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper

from cascade.adapters.release_from_models import ModelFile, ReleasePlan, make_release
from cascade.adapters.world import InMemoryCascade
from cascade.errors import BundleRejected, MissingDependency, StorageError
from cascade.release.bundle import read_bundle_manifest

SAMPLE = np.array([1.0, -0.5, 0.25, 2.0], np.float32)


@pytest.fixture
def made(tmp_path: Path, files: ModuleType):
    """Makes a release of these models, by tier: `made({"edge": ("m.onnx", model)}, labels=…)`."""

    def make(models, *, each=None, **plan):
        paths = {tier: files.write(tmp_path / name, model) for tier, (name, model) in models.items()}
        of = {tier: ModelFile(path=path, **(each or {}).get(tier, {})) for tier, path in paths.items()}
        notes = make_release(tmp_path / "release", ReleasePlan(name="r", task="t", models=of, **plan))
        return tmp_path / "release", notes

    return make


def stage_of(release: Path, tier: str):
    return read_bundle_manifest((release / tier / "manifest.json").read_bytes(), "").stages[0]


def shaped(files: ModuleType, shape) -> object:
    """A model that takes samples of this shape and gives two probabilities."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], axis=1),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["m"], ["p"]),
        helper.make_node("Concat", ["p", "p"], ["y"], axis=1),
    ]
    given = [files.value("x", ["n", *shape])]
    return files.onnx_model(nodes, given, [files.value("y", ["n", 2])])


def test_two_bare_models_of_two_engines_make_a_cascade(made, files):
    release, _ = made({"edge": ("small.tflite", files.linear_tflite()), "cloud": ("large.onnx", files.linear_onnx())})
    with InMemoryCascade(release) as cascade:
        answer = cascade.ask(SAMPLE)
    assert cascade.tiers == ("edge", "cloud")
    assert answer.label == str(int(np.argmax(files.linear(SAMPLE))))
    assert answer.prediction is not None
    assert sum(answer.prediction.scores) == pytest.approx(1.0)


def test_samples_along_one_axis_may_stand_still_but_not_where_they_are_sound(made, files):
    still = np.full(4, 0.5, np.float32)
    for plan, outcome in (({}, "answered"), ({"clipped_share": 0.5}, "refused")):
        release, _ = made({"edge": ("small.onnx", files.linear_onnx())}, **plan)
        with InMemoryCascade(release) as cascade:
            assert cascade.ask(still).outcome == outcome


def test_what_gives_no_probabilities_gets_a_softmax_and_it_is_told(made, files):
    release, notes = made({"edge": ("small.onnx", files.linear_onnx())})
    assert stage_of(release, "edge").output.activation == "softmax"
    assert "small.onnx gives no probabilities: a softmax makes them some" in notes


def test_what_gives_probabilities_is_left_as_it_is(made, files):
    release, notes = made({"edge": ("small.onnx", files.linear_onnx(activation="Softmax"))})
    assert stage_of(release, "edge").output.activation == "none"
    assert not any("probabilities" in note for note in notes)


def test_what_a_file_says_is_read_from_it(made, files):
    release, notes = made({"edge": ("small.onnx", files.linear_onnx())})
    stage = stage_of(release, "edge")
    assert (stage.inputs[0].shape, stage.inputs[0].dtype, stage.labels) == ((4,), "float32", ("0", "1", "2"))
    assert any("one sample is 4" in note for note in notes)
    assert any("labels are the numbers 0 to 2" in note for note in notes)


def test_what_is_said_is_not_guessed(made, files):
    release, notes = made(
        {"edge": ("a.onnx", files.linear_onnx()), "cloud": ("b.onnx", files.linear_onnx())},
        each={"edge": {"threshold": 0.6, "activation": "softmax", "divide": 2.0}, "cloud": {"activation": "softmax"}},
        labels=("cat", "dog", "cow"),
        shape=(4,),
        dtype="uint8",
    )
    assert notes == []
    assert stage_of(release, "edge").inputs[0].dtype == "uint8"
    with InMemoryCascade(release) as cascade:
        assert cascade.ask(np.array([0, 0, 0, 200], np.uint8)).label in ("cat", "dog", "cow")


def test_the_topmost_always_answers(made, files):
    release, _ = made({"edge": ("a.onnx", files.linear_onnx()), "fog": ("b.onnx", files.linear_onnx())})
    with InMemoryCascade(release) as cascade:
        (edge,) = cascade._models.ladders["edge"][0].stages
        (fog,) = cascade._models.ladders["fog"][0].stages
    assert (edge.gate.name, edge.gate.threshold, fog.gate.name) == ("confidence", 0.8, "always")


@pytest.mark.parametrize(
    ("sample", "takes"),
    [((4, 4), (4, 4, 1)), ((4, 4), (1, 4, 4)), ((4, 4), (16,)), ((16,), (4, 4)), ((4, 5, 3), (3, 4, 5))],
)
def test_a_sample_is_turned_the_way_the_model_takes_it(made, files, sample, takes):
    release, notes = made({"edge": ("m.onnx", shaped(files, takes))}, shape=sample)
    assert any("is turned" in note for note in notes)
    with InMemoryCascade(release) as cascade:
        assert cascade.ask(np.arange(np.prod(sample), dtype=np.float32).reshape(sample)).outcome == "answered"


def test_an_open_size_is_asked_for(made, files):
    model = shaped(files, ["height", "width", 3])
    with pytest.raises(BundleRejected, match=r"any×any×3.*--shape"):
        made({"edge": ("m.onnx", model)})
    release, _ = made({"edge": ("m.onnx", model)}, shape=(6, 5, 3))
    assert stage_of(release, "edge").inputs[0].shape == (6, 5, 3)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"labels": ("cat", "dog")}, "gives 3 scores, and there are 2 labels"),
        ({"shape": (5,)}, "takes samples of 4, and a sample here is 5"),
        ({"dtype": "float8"}, "no numbers are of type 'float8'; there are bool"),
        ({"each": {"edge": {"output": "z"}}}, "which output. It has y"),
        ({"each": {"edge": {"gate": "spread", "threshold": 1.0}}}, "the gate spread can't read classes"),
        ({"each": {"edge": {"gate": "margin"}}}, "the gate margin needs a threshold"),
        ({"drop": ("moon",)}, "no labels moon to drop"),
        ({"kind": "detections"}, "no output is called"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(made, files, tmp_path, plan, said):
    with pytest.raises(BundleRejected, match=said):
        made({"edge": ("m.onnx", files.linear_onnx())}, **plan)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]


def test_a_file_that_is_no_model_is_refused(made):
    with pytest.raises(BundleRejected, match="not a readable ONNX model"):
        made({"edge": ("m.onnx", b"rubbish, and more of it" * 100)})
    with pytest.raises(BundleRejected, match=r"expected a model file, \.onnx or \.tflite"):
        made({"edge": ("m.pt", b"")})


def test_a_model_of_several_inputs_is_told_to_need_a_manifest(made, files):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    given = [files.value("a", ["n", 3]), files.value("b", ["n", 3], TensorProto.FLOAT)]
    with pytest.raises(BundleRejected, match="has the inputs a, b"):
        made({"edge": ("m.onnx", files.onnx_model([node], given, [files.value("y", ["n", 3])]))})


def test_an_engine_that_is_not_installed_is_named_with_its_extra(made, files, monkeypatch):
    monkeypatch.setattr("cascade.adapters.backends.onnx.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="edge-onnx"):
        made({"edge": ("m.onnx", files.linear_onnx())})


def test_a_release_is_made_anew_without_leaving_anything_of_the_old_one(made, files, tmp_path):
    made({"edge": ("a.onnx", files.linear_onnx()), "fog": ("b.onnx", files.linear_onnx())})
    release, _ = made({"edge": ("a.onnx", files.linear_onnx())})
    assert sorted(path.name for path in release.iterdir()) == ["edge", "release.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "release"]


def test_a_release_that_fails_leaves_the_one_before(made, files):
    release, _ = made({"edge": ("a.onnx", files.linear_onnx())})
    before = (release / "release.json").read_bytes()
    with pytest.raises(BundleRejected):
        made({"edge": ("a.onnx", files.linear_onnx())}, labels=("one",))
    assert (release / "release.json").read_bytes() == before


def test_a_folder_that_is_no_release_stays_as_it_is(made, files, tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release/thesis.txt").write_text("years of work")
    with pytest.raises(BundleRejected, match="is no release; it stays as it is"):
        made({"edge": ("a.onnx", files.linear_onnx())})
    assert (tmp_path / "release/thesis.txt").exists()


def test_weights_in_a_file_of_their_own_come_along(made, files, tmp_path):
    (tmp_path / "weights.bin").write_bytes(files.WEIGHTS.tobytes())
    release, _ = made({"edge": ("m.onnx", files.external_onnx("weights.bin", 0, files.WEIGHTS.nbytes))})
    assert (release / "edge/weights.bin").exists()


def test_an_estimate_is_sure_by_its_spread(made, files):
    release, _ = made(
        {"edge": ("a.tflite", files.linear_tflite(rows=2)), "cloud": ("b.tflite", files.linear_tflite(rows=2))},
        each={"edge": {"threshold": 0.5}},
        kind="estimate",
    )
    assert stage_of(release, "edge").output.activation == "none"
    with InMemoryCascade(release) as cascade:
        assert cascade._models.ladders["edge"][0].stages[0].gate.name == "spread"


def test_colours_are_normalised_one_by_one_before_they_are_turned(made, files):
    release, _ = made(
        {"edge": ("m.onnx", shaped(files, (3, 4, 5)))},
        each={"edge": {"subtract": (124.0, 116.0, 104.0), "divide": (58.0, 57.0, 57.5)}},
        shape=(4, 5, 3),
        dtype="uint8",
    )
    with InMemoryCascade(release) as cascade:
        answer = cascade.ask(np.broadcast_to(np.array([124, 116, 104], np.uint8), (4, 5, 3)))
    assert answer.prediction is not None
    assert answer.prediction.scores == (0.5, 0.5)


def test_a_place_that_can_hold_no_folder_is_told(made, files, tmp_path):
    (tmp_path / "file").write_text("")
    path = files.write(tmp_path / "m.onnx", files.linear_onnx())
    with pytest.raises(StorageError, match="file"):
        make_release(tmp_path / "file/release", ReleasePlan(name="r", task="t", models={"edge": ModelFile(path=path)}))
