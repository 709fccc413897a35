"""Which engines there are, what they say when they can't run, and how they fall back to what is there."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cascade.adapters import backends
from cascade.adapters.backends import engine, onnx, tflite, usable_engines
from cascade.adapters.backends.backend import EngineSettings, TensorSpec
from cascade.adapters.backends.fitting import converted
from cascade.adapters.backends.quantisation import Quantisation
from cascade.errors import BadInput, BundleRejected, MissingDependency

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""LiteRT's own Delegate complains when it is thrown away after it could not be loaded."""

SETTINGS = EngineSettings()
INT8 = np.dtype(np.int8)


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(BundleRejected, match="no engine is called 'torch'; there are: onnx, scripted, tflite"):
        engine("torch")


def test_all_engines_are_usable_where_all_runtimes_are_installed() -> None:
    assert usable_engines() == frozenset(backends.ENGINES)


# --- onnxruntime ---


@pytest.fixture
def no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_onnxruntime")
def test_without_onnxruntime_the_engine_names_the_extra_that_brings_it(tmp_path: Path, files: ModuleType) -> None:
    path = files.write(tmp_path / "m.onnx", files.linear_onnx())
    assert "pip install '.[edge-onnx]'" in str(engine("onnx").missing())
    with pytest.raises(MissingDependency, match=r"pip install '\.\[edge-onnx\]'"):
        engine("onnx").load(path, SETTINGS)
    assert engine("onnx").inspect(path, SETTINGS) == (path,)
    assert "onnx" not in usable_engines()


def test_a_provider_that_is_not_there_falls_back_to_the_cpu_with_a_word(
    tmp_path: Path, files: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    path = files.write(tmp_path / "m.onnx", files.linear_onnx())
    wanted = SETTINGS._replace(providers=("TensorrtExecutionProvider", "CPUExecutionProvider"))
    model = engine("onnx").load(path, wanted)
    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-6)
    assert "no TensorrtExecutionProvider; it has CPUExecutionProvider" in caplog.text.replace(
        "AzureExecutionProvider, ", ""
    )


@pytest.mark.parametrize("settings", [SETTINGS._replace(threads=2), SETTINGS._replace(low_memory=True)])
def test_threads_and_low_memory_change_no_answer(tmp_path: Path, files: ModuleType, settings: EngineSettings) -> None:
    model = engine("onnx").load(files.write(tmp_path / "m.onnx", files.linear_onnx()), settings)
    x = np.ones((3, 4), np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-6)


def test_a_model_with_recurrent_state_takes_exactly_what_it_declares(tmp_path: Path, files: ModuleType) -> None:
    node = files.helper.make_node("Add", ["x", "s"], ["y"])
    inputs = [files.value("x", [1, 4]), files.value("s", [2, 1, 4])]
    model_file = files.onnx_model([node], inputs, [files.value("y", [2, 1, 4])])
    model = engine("onnx").load(files.write(tmp_path / "m.onnx", model_file), SETTINGS)
    assert [spec.shape for spec in model.inputs] == [(1, 4), (2, 1, 4)]
    assert model.run({"x": np.ones((1, 4)), "s": np.ones((2, 1, 4))})["y"].shape == (2, 1, 4)
    with pytest.raises(BadInput, match="input x wants shape 1×4, and got 2×4"):
        model.run({"x": np.ones((2, 4)), "s": np.ones((2, 1, 4))})


def test_a_number_for_the_whole_batch_is_handed_on(tmp_path: Path, files: ModuleType) -> None:
    node = files.helper.make_node("Mul", ["x", "rate"], ["y"])
    inputs = [files.value("x", ["n", 4]), files.value("rate", [])]
    model_file = files.onnx_model([node], inputs, [files.value("y", ["n", 4])])
    model = engine("onnx").load(files.write(tmp_path / "m.onnx", model_file), SETTINGS)
    assert model.inputs[1] == TensorSpec("rate", np.dtype(np.float32), ())
    np.testing.assert_array_equal(model.run({"x": np.ones((3, 4)), "rate": np.array(2.0)})["y"], np.full((3, 4), 2.0))


def test_two_inputs_of_one_batch_with_different_counts_are_bad_input(tmp_path: Path, files: ModuleType) -> None:
    node = files.helper.make_node("Add", ["a", "b"], ["y"])
    inputs = [files.value("a", [1, 4]), files.value("b", [1, 4])]
    model_file = files.onnx_model([node], inputs, [files.value("y", [1, 4])])
    model = engine("onnx").load(files.write(tmp_path / "m.onnx", model_file), SETTINGS)
    with pytest.raises(BadInput, match="different first axes"):
        model.run({"a": np.ones((2, 4)), "b": np.ones((3, 4))})


# --- LiteRT ---


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What imports of the two runtimes give: a module, or an error to raise. Empty: both are missing."""
    there: dict[str, Any] = {}

    def importing(name: str) -> Any:
        found = there.get(name, ImportError(name))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(tflite, "import_module", importing)
    tflite._runtime.cache_clear()
    yield there
    tflite._runtime.cache_clear()


LITERT, OLD = "ai_edge_litert.interpreter", "tflite_runtime.interpreter"


def broken_for_this_numpy(**_: object) -> None:
    raise SystemError("_ARRAY_API not found")


def test_without_a_runtime_the_engine_names_the_extra_that_brings_one(
    runtimes: dict[str, Any], tmp_path: Path, files: ModuleType
) -> None:
    assert "ai-edge-litert is not installed, tflite-runtime is not installed" in str(engine("tflite").missing())
    assert "pip install '.[edge-tflite]'" in str(engine("tflite").missing())
    path = files.write(tmp_path / "m.tflite", files.linear_tflite())
    assert engine("tflite").inspect(path, SETTINGS) == (path,)
    with pytest.raises(MissingDependency, match="not installed"):
        engine("tflite").load(path, SETTINGS)
    assert "tflite" not in usable_engines()


def test_tflite_runtime_is_used_where_litert_is_not_there(
    runtimes: dict[str, Any], tmp_path: Path, files: ModuleType
) -> None:
    runtimes[OLD] = importlib.import_module(LITERT)
    assert engine("tflite").missing() is None
    assert tflite._runtime()[0].package == "tflite-runtime"  # type: ignore[union-attr]
    model = engine("tflite").load(files.write(tmp_path / "m.tflite", files.linear_tflite()), SETTINGS)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-6)


def test_a_runtime_that_imports_and_then_fails_is_not_one(runtimes: dict[str, Any]) -> None:
    """tflite-runtime 2.14 with numpy 2 does so."""
    runtimes[OLD] = SimpleNamespace(Interpreter=broken_for_this_numpy)
    assert "tflite-runtime does not work here (_ARRAY_API not found)" in str(engine("tflite").missing())
    runtimes[LITERT] = importlib.import_module(LITERT)
    tflite._runtime.cache_clear()
    assert engine("tflite").missing() is None


@pytest.mark.parametrize("missing", ["none.so", "/none/libedgetpu.so.1"])
def test_a_delegate_that_is_not_there_falls_back_to_the_cpu_with_a_word(
    tmp_path: Path, files: ModuleType, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    path = files.write(tmp_path / "m.tflite", files.linear_tflite())
    model = engine("tflite").load(path, SETTINGS._replace(delegates=(missing,)))
    x = np.ones((9, 4), np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-6)
    assert f"delegate {missing} can't be loaded" in caplog.text


def test_a_library_that_is_no_delegate_falls_back_to_the_cpu(
    runtimes: dict[str, Any], tmp_path: Path, files: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def load_delegate(library: str) -> None:
        raise AttributeError(f"{library}: undefined symbol: tflite_plugin_create_delegate")

    real = importlib.import_module(LITERT)
    runtimes[LITERT] = SimpleNamespace(Interpreter=real.Interpreter, load_delegate=load_delegate)
    path = files.write(tmp_path / "m.tflite", files.linear_tflite())
    engine("tflite").load(path, SETTINGS._replace(delegates=("libm.so",)))
    assert "delegate libm.so can't be loaded, so it runs on the CPU" in caplog.text


def test_a_delegate_that_does_not_take_the_model_leaves_it_to_the_cpu(
    runtimes: dict[str, Any], tmp_path: Path, files: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    real = importlib.import_module(LITERT)

    def interpreter(experimental_delegates: object = None, **settings: Any) -> Any:
        if experimental_delegates:
            raise RuntimeError("it has an operator that I don't know")
        return real.Interpreter(**settings)

    runtimes[LITERT] = SimpleNamespace(Interpreter=interpreter, load_delegate=lambda library: object())
    path = files.write(tmp_path / "m.tflite", files.linear_tflite())
    model = engine("tflite").load(path, SETTINGS._replace(delegates=("libnpu.so",)))
    assert model.run({"x": np.ones((1, 4), np.float32)})["y"].shape == (1, 3)
    assert "no delegate takes it, so it runs on the CPU" in caplog.text


def test_a_model_converted_for_two_samples_takes_two(tmp_path: Path, files: ModuleType) -> None:
    path = files.write(tmp_path / "m.tflite", files.linear_tflite(batch=2))
    model = engine("tflite").load(path, SETTINGS)
    assert model.inputs[0].shape == (2, 4)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-5)


def test_a_slow_model_is_not_tried_in_batches(
    tmp_path: Path, files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying costs sixteen runs at once, in the middle of work."""
    monkeypatch.setattr(tflite, "WORTH_BATCHING_S", -1.0)
    model = engine("tflite").load(files.write(tmp_path / "m.tflite", files.linear_tflite()), SETTINGS)
    x = np.ones((9, 4), np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], files.linear(x), atol=1e-6)
    assert model._batched is None  # type: ignore[attr-defined]


def test_more_than_one_scale_for_an_input_is_refused() -> None:
    detail = {
        "name": "x",
        "index": 0,
        "dtype": np.int8,
        "shape": np.array([1, 4]),
        "quantization_parameters": {"scales": np.ones(4), "zero_points": np.zeros(4)},
    }
    with pytest.raises(ValueError, match="4 scales"):
        tflite._port(detail)


# --- numbers ---


def test_quantising_rounds_and_holds_at_the_ends() -> None:
    numbers = Quantisation(0.5, 10, INT8).integers(np.array([-1e9, -0.26, 0.0, 0.24, 1.0, np.inf], np.float32))
    assert numbers.tolist() == [-128, 9, 10, 10, 12, 127]
    assert Quantisation(0.5, 10, INT8).real(numbers).tolist() == [-69.0, -0.5, 0.0, 0.0, 1.0, 58.5]


def test_what_is_not_a_number_has_no_integer() -> None:
    with pytest.raises(BadInput, match="not a number"):
        Quantisation(0.5, 0, INT8).integers(np.array([1.0, np.nan], np.float32))


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([1.0, -3.0], np.float32), "int8"),
        (np.array([255], np.int64), "uint8"),
        (np.array([True]), "float32"),
        (np.array([2**53], np.int64), "float64"),
        (np.array([1e300]), "float32"),
        (np.array([1], np.uint8), "bool"),
    ],
)
def test_numbers_that_survive_a_conversion_are_converted(array: np.ndarray, dtype: str) -> None:
    with np.errstate(over="ignore"):
        assert converted("x", array, np.dtype(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([0.5], np.float32), "int8"),
        (np.array([256], np.int64), "uint8"),
        (np.array([-1], np.int8), "uint8"),
        (np.array([np.nan], np.float32), "int32"),
        (np.array([np.inf], np.float32), "int32"),
        (np.array([2**53 + 1], np.int64), "float64"),
        (np.array([2**63 - 1], np.int64), "float64"),
        (np.array([2.0**63]), "int64"),
        (np.array([2.0**64]), "uint64"),
        (np.array([2], np.uint8), "bool"),
    ],
)
def test_numbers_that_a_conversion_would_change_are_bad_input(array: np.ndarray, dtype: str) -> None:
    with pytest.raises(BadInput, match="does not fit it exactly"):
        converted("x", array, np.dtype(dtype))


def test_the_engines_are_imported_when_they_are_used_and_not_before() -> None:
    names = "onnxruntime", "ai_edge_litert", "tflite_runtime"
    code = f"import sys, cascade.adapters.stage_runner; sys.exit(any(name in sys.modules for name in {names}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
