"""Every engine is held to the same contract: what `backend.py` promises, on the same small model in its own format."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from cascade.adapters.backends import ENGINES, engine
from cascade.adapters.backends.backend import EngineSettings, Model, TensorSpec
from cascade.errors import BadInput, ModelRejected

_PLACE = Path(__file__).parents[1] / "adapters/backends/model_files.py"
_SPEC = importlib.util.spec_from_file_location("contract_model_files", _PLACE)
assert _SPEC is not None
assert _SPEC.loader is not None
files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(files)

SETTINGS = EngineSettings()
RANDOM = np.random.default_rng(7)


class Subject(NamedTuple):
    """An engine, a model file for it, and what the model computes."""

    engine: str
    name: str
    make: Callable[[], bytes]
    truth: Callable[[np.ndarray], np.ndarray]
    tolerance: float = 1e-6


def _first_three(x: np.ndarray) -> np.ndarray:
    return x[:, 1:]


SUBJECTS = {
    "scripted": Subject("scripted", "m.json", files.script, _first_three),
    "onnx": Subject("onnx", "m.onnx", lambda: files.linear_onnx().SerializeToString(), files.linear),
    "onnx exported for one": Subject("onnx", "m.onnx", lambda: files.linear_onnx(1).SerializeToString(), files.linear),
    "onnx exported for four": Subject("onnx", "m.onnx", lambda: files.linear_onnx(4).SerializeToString(), files.linear),
    "tflite": Subject("tflite", "m.tflite", files.linear_tflite, files.linear),
    "tflite int8": Subject("tflite", "m.tflite", lambda: files.linear_tflite(quantised=True), files.linear, 0.05),
}


@pytest.fixture(params=SUBJECTS, scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


@pytest.fixture(scope="module")
def path(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = files.write(tmp_path_factory.mktemp("model") / subject.name, subject.make())
    return path


@pytest.fixture
def model(subject: Subject, path: Path) -> Iterator[Model]:
    runs = engine(subject.engine)
    assert runs.inspect(path, SETTINGS) == (path,)
    model = runs.load(path, SETTINGS)
    yield model
    model.close()


def samples(count: int) -> np.ndarray:
    return RANDOM.uniform(-1.9, 1.9, (count, 4)).astype(np.float32)


def test_no_engine_is_left_out() -> None:
    assert {subject.engine for subject in SUBJECTS.values()} == set(ENGINES)


def test_an_engine_says_that_it_can_run_and_what_it_is(subject: Subject) -> None:
    runs = engine(subject.engine)
    assert runs.name == subject.engine
    assert runs.missing() is None
    assert any(character.isdigit() for character in runs.version())


def test_inputs_and_outputs_are_real_numbers_with_the_batch_left_open(model: Model) -> None:
    assert model.inputs == (TensorSpec("x", np.dtype(np.float32), (None, 4)),)
    assert model.outputs == (TensorSpec("y", np.dtype(np.float32), (None, 3)),)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 20])
def test_a_batch_is_answered_as_its_samples_are_alone(model: Model, subject: Subject, count: int) -> None:
    x = samples(count)
    together = model.run({"x": x})["y"]
    alone = np.concatenate([model.run({"x": x[i : i + 1]})["y"] for i in range(count)])
    assert together.shape == (count, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-6 if subject.tolerance < 0.01 else subject.tolerance)
    np.testing.assert_allclose(together, subject.truth(x), atol=subject.tolerance)


def test_what_a_run_returned_stays_as_it_is_and_may_be_changed(model: Model) -> None:
    first = model.run({"x": samples(1)})["y"]
    before = first.copy()
    model.run({"x": samples(1)})
    np.testing.assert_array_equal(first, before)
    first += 1.0


def test_the_input_is_not_changed(model: Model) -> None:
    x = samples(3)
    before = x.copy()
    model.run({"x": x})
    np.testing.assert_array_equal(x, before)


def test_memory_layout_and_wider_floats_make_no_difference(model: Model) -> None:
    x = samples(8)
    expected = model.run({"x": x})["y"]
    np.testing.assert_array_equal(model.run({"x": np.asfortranarray(x)})["y"], expected)
    np.testing.assert_array_equal(model.run({"x": np.repeat(x, 2, axis=0)[::2]})["y"], expected)
    np.testing.assert_array_equal(model.run({"x": x.astype(np.float64)})["y"], expected)
    np.testing.assert_array_equal(model.run({"x": np.frombuffer(x.tobytes(), np.float32).reshape(8, 4)})["y"], expected)


def test_whole_numbers_are_taken_where_they_survive(model: Model) -> None:
    x = np.array([[1, 0, -1, 1]])
    np.testing.assert_array_equal(model.run({"x": x})["y"], model.run({"x": x.astype(np.float32)})["y"])


@pytest.mark.parametrize("shape", [(1, 5), (4,), (0, 4), (1, 4, 1), (), (2, 3)])
def test_another_shape_is_bad_input_and_says_what_is_wanted(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="input x wants shape any×4, and got"):
        model.run({"x": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    "array",
    [np.full((1, 4), "1"), np.ones((1, 4), complex), np.full((1, 4), None), np.full((1, 4), 2**24 + 1)],
    ids=["text", "complex", "objects", "too large to survive"],
)
def test_another_type_is_bad_input_and_says_what_is_wanted(model: Model, array: np.ndarray) -> None:
    with pytest.raises(BadInput, match="input x wants float32, and was given"):
        model.run({"x": array})


@pytest.mark.parametrize("names", [(), ("z",), ("x", "z")])
def test_a_missing_or_unknown_input_is_bad_input_and_says_which_there_are(model: Model, names: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match=r"the model .* input.*'x'"):
        model.run({name: samples(1) for name in names})


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_none_harm_only_their_own_run(model: Model, subject: Subject, number: float) -> None:
    x = samples(3)
    with np.errstate(all="ignore"):
        try:
            strange = model.run({"x": np.full((1, 4), number, np.float32)})["y"]
        except BadInput:
            assert np.isnan(number)
        else:
            assert strange.shape == (1, 3)
    np.testing.assert_allclose(model.run({"x": x})["y"], subject.truth(x), atol=subject.tolerance)


def test_closing_twice_is_harmless(model: Model) -> None:
    model.run({"x": samples(8)})
    model.close()
    model.close()


def test_two_models_of_one_file_do_not_share_a_life(subject: Subject, path: Path, model: Model) -> None:
    other = engine(subject.engine).load(path, SETTINGS)
    other.close()
    assert model.run({"x": samples(2)})["y"].shape == (2, 3)


def test_a_file_that_is_none_of_its_own_is_rejected_by_name(subject: Subject, tmp_path: Path) -> None:
    bad = files.write(tmp_path / f"bad-{subject.name}", RANDOM.bytes(400))
    with pytest.raises(ModelRejected, match=f"^bad-{subject.name}: "):
        engine(subject.engine).inspect(bad, SETTINGS)
    with pytest.raises(ModelRejected, match=f"^bad-{subject.name}: "):
        engine(subject.engine).load(bad, SETTINGS)


def test_a_larger_file_than_allowed_is_rejected_with_both_sizes(subject: Subject, path: Path) -> None:
    with pytest.raises(ModelRejected, match=rf"{path.stat().st_size} bytes; at most 50 are loaded"):
        engine(subject.engine).inspect(path, SETTINGS._replace(max_model_bytes=50))
