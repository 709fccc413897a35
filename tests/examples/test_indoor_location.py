"""`examples/indoor_location`: on a small made-up site, and on UJIIndoorLoc where CASCADE_DATA is set."""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cascade.adapters.settings_file import settings_from
from cascade.adapters.world import InMemoryCascade
from cascade.messages import Estimate, Outcome
from edge_agent.settings import EdgeSettings

pytest.importorskip("sklearn")
pytest.importorskip("onnx")
HERE = Path(__file__).resolve().parents[2] / "examples/indoor_location"
ROOMS = ("network", "fingerprints", "graphs", "train", "measure")


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
    folder: Path = tmp_path_factory.mktemp("site") / "releases"
    folder.mkdir()
    example["train"].main(folder, example["fingerprints"].made_up())
    return folder


def test_a_floor_and_a_place_are_found_for_a_phone_that_nobody_met(example: dict[str, ModuleType], made: Path) -> None:
    test = example["fingerprints"].made_up().test
    rows = {task: example["measure"].cascade(task, made / task, test) for task in ("floor", "position")}
    assert rows["floor"].score["right"] > 0.85
    assert rows["position"].score["mean m"] < 12.0


def test_an_estimate_that_is_unsure_climbs_and_a_sure_one_stays(example: dict[str, ModuleType], made: Path) -> None:
    known = example["fingerprints"].made_up().choose
    with InMemoryCascade(made / "position") as cascade:
        answers = [cascade.ask(row, final=True) for row in known.rssi[:200]]
    assert {answer.tier for answer in answers} == {"edge", "cloud"}
    for answer in answers:
        first = answer.trail[0]
        assert first.threshold is not None
        if answer.tier == "edge":
            assert isinstance(answer.prediction, Estimate)
            assert max(answer.prediction.spreads) <= first.threshold


@pytest.mark.parametrize("task", ["floor", "position"])
def test_a_fingerprint_of_nothing_is_bad_input_and_no_place(made: Path, task: str) -> None:
    with InMemoryCascade(made / task) as cascade:
        answer = cascade.ask(np.full(60, 100, np.int8), final=True)
    assert (answer.outcome, answer.reason, answer.prediction) == (Outcome.REFUSED, "bad_input", None)


@pytest.mark.parametrize("task", ["floor", "position"])
def test_strengths_that_are_no_whole_numbers_are_refused(made: Path, task: str) -> None:
    with InMemoryCascade(made / task) as cascade:
        answer = cascade.ask(np.full(60, np.nan, np.float32), final=True)
    assert answer.outcome is Outcome.REFUSED


def test_one_access_point_alone_is_no_easy_place(made: Path) -> None:
    rssi = np.full(60, 100, np.int8)
    rssi[7] = -88
    with InMemoryCascade(made / "position") as cascade:
        assert cascade.ask(rssi, final=True).tier == "cloud"


def test_what_is_on_the_device_is_under_100_kb(made: Path) -> None:
    files = [path for task in ("floor", "position") for path in (made / task / "edge").iterdir()]
    assert sum(path.stat().st_size for path in files) < 100_000


def test_its_settings_are_read(made: Path) -> None:
    document = tomllib.loads((HERE / "edge.toml").read_text())
    settings = settings_from(document, EdgeSettings, "edge.toml", made.parent)
    assert [stream.task for stream in settings.streams] == ["floor", "position"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif("CASCADE_DATA" not in os.environ, reason="CASCADE_DATA is not set: no UJIIndoorLoc")
def test_the_real_site_is_as_the_readme_says(example: dict[str, ModuleType], tmp_path: Path) -> None:
    site = example["fingerprints"].surveyed(example["fingerprints"].data_file())
    rows, drift = example["measure"].measure(tmp_path, site)
    found = {(row.task, row.system): row for row in rows}
    floor, position = found["floor", "cascade"], found["position", "cascade"]
    assert floor.score["right"] > 0.93
    assert found["position", "cloud only"].score["mean m"] < 9.0
    assert position.score["mean m"] < found["position", "device only"].score["mean m"]
    assert drift["floor"]["noticed after"] is not None
