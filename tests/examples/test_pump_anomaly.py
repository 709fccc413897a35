"""`examples/pump_anomaly`: on a small made-up pump, and on SKAB where CASCADE_DATA is set."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cascade.adapters.settings_file import settings_from
from cascade.adapters.world import InMemoryCascade
from cascade.messages import Outcome
from cascade.metrics import WATCH_ASKED, WATCH_BAD
from edge_agent import EdgeAgent
from edge_agent.settings import EdgeSettings

pytest.importorskip("sklearn")
pytest.importorskip("onnx")
HERE = Path(__file__).resolve().parents[2] / "examples/pump_anomaly"
ROOMS = ("recordings", "nab", "train", "measure")


@pytest.fixture(scope="module")
def example() -> Iterator[dict[str, ModuleType]]:
    """Its files import each other by their plain names, which other examples have too."""
    before = {name: sys.modules.pop(name, None) for name in ROOMS}
    found = {}
    for name in ROOMS:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        found[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    yield found
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture(scope="module")
def made(example: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("pump") / "release"
    example["train"].main(folder, example["recordings"].made_up())
    return folder


def test_faults_are_found_and_only_doubts_climb(example: dict[str, ModuleType], made: Path) -> None:
    row = example["measure"].asked(made, example["recordings"].made_up().test, "cascade")
    assert row.count.missed == 0
    assert row.count.f1 > 0.8
    assert 0.0 < row.on_device < 1.0


def test_evaluate_has_settings_and_windows_to_ask_about(
    made: Path, tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(HERE / "evaluate.toml", tmp_path)
    (tmp_path / "release").symlink_to(made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = json.loads(run("-m", "cascade_cli", "evaluate", tmp_path / "evaluate.toml", "--json"))
    assert found["samples"] == 198
    assert found["systems"]["cascade"]["right"]["value"] > 0.8


def test_the_onnx_models_say_what_was_trained(example: dict[str, ModuleType], made: Path) -> None:
    import onnxruntime

    runs = example["recordings"].made_up()
    windows, anomalous = example["train"].together(runs.learn)
    for tier, kind in (("edge", "Statistical"), ("cloud", "Learned")):
        session = onnxruntime.InferenceSession(made / tier / "model.onnx", providers=["CPUExecutionProvider"])
        (scores,) = session.run(None, {"rows": windows})
        wanted = getattr(example["train"], kind)(windows, anomalous)(windows)
        assert np.allclose(1.0 / (1.0 + np.exp(-scores[:, 0])), wanted, atol=1e-3)


def test_a_series_of_any_unit_is_told_in_its_own_spreads(example: dict[str, ModuleType], tmp_path: Path) -> None:
    nab = example["nab"]
    dice = np.random.default_rng(0)
    made = []
    for number in range(8):
        values = dice.normal(0, 1, 1200) * 10.0**number
        values[700:760] += 8.0 * 10.0**number
        ends = np.arange(nab.WINDOW, 1201, nab.STEP)
        windows = np.stack([values[end - nab.WINDOW : end] for end in ends]).astype(np.float32)
        made.append(nab.Series(str(number), windows, (ends > 700) & (ends <= 760), 300.0))
    found = {system: counted for system, counted, _, _ in nab.measured(tmp_path, made)}
    assert found["device only"].found == found["cascade"].found == 2


def test_nan_is_bad_input_and_never_easy(made: Path) -> None:
    window = np.zeros((20, 8), np.float32)
    window[3] = np.nan
    window[4] = 1.0
    with InMemoryCascade(made) as cascade:
        answer = cascade.ask(window, final=True)
    assert (answer.outcome, answer.reason, answer.prediction) == (Outcome.REFUSED, "bad_input", None)


def test_a_stuck_pump_sensor_is_bad_input(made: Path) -> None:
    with InMemoryCascade(made) as cascade:
        answer = cascade.ask(np.full((20, 8), 0.25, np.float32), final=True)
    assert (answer.outcome, answer.reason, answer.prediction) == (Outcome.REFUSED, "bad_input", None)


async def test_the_watch_of_the_settings_asks_every_ten_rows(made: Path, tmp_path: Path) -> None:
    counted = await watched(made, tmp_path, np.load(made / "rows.npz")["rows"][:200])
    assert counted[WATCH_ASKED.name] == (200 - 20) / 10 + 1


async def test_a_row_that_is_no_number_is_counted_and_no_window_spans_it(made: Path, tmp_path: Path) -> None:
    rows = np.load(made / "rows.npz")["rows"][:60].copy()
    rows[25] = np.nan
    counted = await watched(made, tmp_path, rows)
    assert counted[WATCH_BAD.name] == 1.0
    assert counted[WATCH_ASKED.name] == 1 + 2


async def watched(made: Path, folder: Path, rows: np.ndarray) -> dict[str, float]:
    """The agent of `edge.toml`, alone, on these rows."""
    np.savez(folder / "rows.npz", rows=rows)
    document = tomllib.loads((HERE / "edge.toml").read_text())
    del document["above"]
    document["device"]["state_dir"] = str(folder / "state")
    document["tasks"][0]["release"] = str(made)
    document["streams"][0]["sensor"] = {"kind": "replay", "path": str(folder / "rows.npz")}
    settings = settings_from(document, EdgeSettings, "edge.toml", folder)
    out = io.BytesIO()
    agent = EdgeAgent.from_settings(settings, out=out)
    async with agent, asyncio.timeout(20):
        await agent.run_until(asyncio.Event())
    assert all(json.loads(line)["task"] == "pump" for line in out.getvalue().splitlines())
    counted: dict[str, float] = {}
    for reading in agent.tally.snapshot():
        counted[reading.row.name] = counted.get(reading.row.name, 0.0) + reading.value
    return counted


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif("CASCADE_DATA" not in os.environ, reason="CASCADE_DATA is not set: no SKAB")
def test_the_real_pump_is_as_the_readme_says(example: dict[str, ModuleType], tmp_path: Path) -> None:
    runs = example["recordings"].test_bed(example["recordings"].folder() / example["recordings"].SKAB_FILE)
    rows, every = example["measure"].measure(tmp_path / "release", runs)
    found = {row.system: row for row in rows}
    assert found["cascade"].count.missed == 0
    assert found["cascade"].count.f1 > found["device only"].count.f1
    assert found["cascade"].bytes_per_day < every
