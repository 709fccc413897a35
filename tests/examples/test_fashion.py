"""`examples/fashion`: the release that is committed, on garments that a generator draws; training, where torch is; and
the figures of its README, where CASCADE_DATA names Fashion-MNIST."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.world import InMemoryCascade
from cascade.messages import Outcome

pytest.importorskip("onnxruntime")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/fashion"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (EXAMPLE / "release").exists(), reason="its models are not trained: examples/fashion/train.py"
    ),
]


@pytest.fixture(scope="module")
def garments(tmp_path_factory, run, monkeypatch_module) -> Path:
    monkeypatch_module.delenv("CASCADE_DATA", raising=False)
    path = tmp_path_factory.mktemp("garments") / "test.npz"
    assert "drawn garments" in run("fashion/data.py", path)
    return path


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def cascade() -> Iterator[InMemoryCascade]:
    with InMemoryCascade(EXAMPLE / "release") as world:
        yield world


def test_what_leaves_early_runs_no_later_segment_and_what_does_not_goes_on(cascade, garments):
    with np.load(garments) as file:
        images = file["image"]
    trails = {tuple(step.stage for step in cascade.ask(image).trail if step.stage) for image in images}
    ladder = ("exit1", "exit2", "exit3", "whole")
    assert trails <= {ladder[:count] for count in range(1, 5)}
    assert len(trails) > 1


def test_a_cut_costs_accuracy_and_not_the_answer(cascade, garments):
    cascade.cut("cloud")
    with np.load(garments) as file:
        answers = [cascade.ask(image) for image in file["image"][:100]]
    assert {(answer.outcome, answer.tier) for answer in answers} == {(Outcome.ANSWERED, "edge")}


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_a_covered_camera_is_an_error(cascade, grey):
    assert cascade.ask(np.full((28, 28), grey, np.uint8)).outcome is Outcome.REFUSED


@pytest.mark.parametrize("tier", ["edge", "fog", "cloud"])
def test_its_settings_are_right(run, tmp_path, garments, tier):
    for settings in EXAMPLE.glob("*.toml"):
        shutil.copy(settings, tmp_path)
    (tmp_path / "release").symlink_to(EXAMPLE / "release")
    shutil.copy(garments, tmp_path)
    assert "right" in run("-m", "cascade_cli", "check", tmp_path / f"{tier}.toml")


def test_the_models_that_are_committed_are_small():
    files = [path for folder in ("release", "single") for path in (EXAMPLE / folder).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_without_data_it_says_that_nothing_was_measured(run, monkeypatch):
    monkeypatch.delenv("CASCADE_DATA", raising=False)
    assert "nothing was measured" in run("fashion/measure.py")


@pytest.mark.timeout(600)
def test_it_can_be_trained_on_drawn_garments(run, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[compress]'")
    target = "at most 20 points worse than the cloud, with 80 % confidence"
    folders = ["--out", tmp_path / "release", "--work", tmp_path / "work", "--singles", tmp_path / "single"]
    run("fashion/train.py", "--drawn", "--epochs", 6, "--target", target, *folders, timeout_s=500.0)
    release = ["--release", tmp_path / "release", "--singles", tmp_path / "single", "--json", tmp_path / "found.json"]
    run("fashion/measure.py", "--drawn", "--target", target, *release)
    found = json.loads((tmp_path / "found.json").read_text())["device"]
    assert found["early exits"]["multiply_adds"] <= found["last exit"]["multiply_adds"]


@pytest.mark.timeout(1800)
def test_on_fashion_mnist_it_reaches_what_its_readme_says(real_data, run, tmp_path):
    run("fashion/measure.py", "--json", tmp_path / "found.json", timeout_s=1790.0)
    found = json.loads((tmp_path / "found.json").read_text())
    exits, last = found["device"]["early exits"], found["device"]["last exit"]
    assert exits["right"] >= last["right"] - 0.005
    assert exits["multiply_adds"] <= 0.4 * last["multiply_adds"]
