"""The maker of model files as a fixture: modules beside a test can't be imported by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings


@pytest.fixture(scope="session")
def files() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backend_model_files", Path(__file__).parent / "model_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def inspect(tmp_path: Path, files: ModuleType) -> Callable[..., tuple[Path, ...]]:
    """Write a model and look at it: `inspect("m.onnx", model_or_bytes)`."""

    def look(name: str, model: object, settings: EngineSettings = EngineSettings()) -> tuple[Path, ...]:  # noqa: B008
        path = files.write(tmp_path / name, model)
        return engine({"onnx": "onnx", "tflite": "tflite", "json": "scripted"}[name.rpartition(".")[2]]).inspect(
            path, settings
        )

    return look
