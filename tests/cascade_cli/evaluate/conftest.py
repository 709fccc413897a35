"""A release whose models say what their input tells them to, samples for it, and the settings to evaluate both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.adapters.scripted_release import write_scripted_release
from cascade.adapters.settings_file import read_settings
from cascade_cli.evaluate.recorded import record_release
from cascade_cli.evaluate.samples import open_data
from cascade_cli.evaluate.settings import Evaluation

SETTINGS = """
release = "release"
data = { kind = "replay", path = "samples.npz" }
cache = "cache"
[above.budget]
joules_per_byte = 1e-6
"""


def write_samples(path: Path, samples: int = 160, seed: int = 0, **more: Any) -> np.ndarray[Any, Any]:
    """Three models: the device's is right of 3 in 4, the cloud's of nearly all, and each knows when it is unsure."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, samples)
    columns = []
    for good in (0.75, 0.9, 1.15):
        chance = np.clip(good + 0.25 * rng.standard_normal(samples), 0.5, 0.999)
        says = np.where(rng.random(samples) < chance, label, 1 - label)
        columns += [np.where(says == 0, chance, 1 - chance), np.where(says == 1, chance, 1 - chance)]
    x = np.stack(columns, axis=1).astype(np.float32)
    arrays = {"x": x, "labels": np.array(["no", "yes"])[label], **more}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return x


@pytest.fixture(scope="session")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what the models say in the cache: to load and run them takes longer than all else."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_scripted_release(folder / "release")
    write_samples(folder / "samples.npz")
    (folder / "evaluate.toml").write_text(SETTINGS)
    settings = read_settings(folder / "evaluate.toml", Evaluation)
    assert settings.cache is not None
    record_release(settings.release, open_data(settings.data), settings.cache, settings.engine)
    return folder


@pytest.fixture
def folder(recorded_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def evaluate(cascade: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The command; its JSON where it went well."""

    def run(*words: str | Path) -> Any:
        said = cascade("evaluate", folder / "evaluate.toml", "--json", *words)
        return json.loads(said.out) if said.code == 0 else said

    return run


@pytest.fixture
def settings(folder: Path) -> Evaluation:
    return read_settings(folder / "evaluate.toml", Evaluation)


@pytest.fixture
def samples() -> Callable[..., np.ndarray[Any, Any]]:
    return write_samples
