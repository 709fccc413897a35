"""`examples/keywords` on inputs and models that a generator makes; on the official ones where CASCADE_DATA is set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.world import InMemoryCascade
from cascade.messages import Outcome

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/keywords"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run) -> Path:
    made = tmp_path_factory.mktemp("keywords")
    run("keywords/stand_ins.py", made)
    for settings in EXAMPLE.glob("*.toml"):
        shutil.copy(settings, made)
    target = "at most 4 points worse than the cloud, with 80 % confidence"
    run(
        "-m", "cascade_cli", "calibrate", made / "release", "--recordings", made / "recordings.npz",
        "--record", made / "calibrate.npz", "--target", target,
    )  # fmt: skip
    return made


@pytest.fixture
def cascade(folder) -> Iterator[InMemoryCascade]:
    with InMemoryCascade(folder / "release") as world:
        yield world


def test_the_model_above_mends_more_than_it_spoils(folder, cascade):
    with np.load(folder / "test.npz") as file:
        clips, labels = file["mfcc"], file["labels"].tolist()
    together = sum(cascade.ask(clip, final=True).label == label for clip, label in zip(clips, labels, strict=True))
    asked_above = cascade.totals().answered_by.get("cloud", 0)
    cascade.cut("cloud")
    alone = sum(cascade.ask(clip).label == label for clip, label in zip(clips, labels, strict=True))
    assert together > alone
    assert 0 < asked_above < len(labels)


def test_no_clip_is_in_two_parts(folder):
    parts = [np.load(folder / name)["mfcc"] for name in ("calibrate.npz", "test.npz")]
    calibrate, test = ({clip.tobytes() for clip in part} for part in parts)
    assert not calibrate & test


@pytest.mark.parametrize("tier", ["edge", "fog", "cloud"])
def test_its_settings_are_right(folder, run, tier):
    assert "right" in run("-m", "cascade_cli", "check", folder / f"{tier}.toml")


def test_it_can_be_evaluated(folder, run):
    said = json.loads(run("-m", "cascade_cli", "evaluate", folder / "evaluate.toml", "--json", "--cache", folder / "c"))
    assert said["samples"] == len(np.load(folder / "test.npz")["labels"])


def test_a_front_end_that_says_the_same_always_is_an_error(cascade):
    assert cascade.ask(np.full((49, 10), 3, np.int8)).outcome is Outcome.REFUSED


def test_features_at_the_ends_of_their_range_are_an_error(cascade):
    ends = np.where(np.random.default_rng(0).random((49, 10)) < 0.5, -128, 127).astype(np.int8)
    assert cascade.ask(ends).outcome is Outcome.REFUSED


def test_what_is_no_number_is_an_error(cascade):
    assert cascade.ask(np.full((49, 10), np.nan, np.float32)).outcome is Outcome.REFUSED


def test_without_data_it_says_that_nothing_was_measured(run, monkeypatch):
    monkeypatch.delenv("CASCADE_DATA", raising=False)
    assert "nothing was measured" in run("keywords/measure.py")


@pytest.mark.timeout(900)
def test_on_the_official_inputs_the_cascade_is_better_than_the_device_alone(real_data, run, tmp_path):
    pytest.importorskip("ai_edge_litert")
    run("keywords/measure.py", "--json", tmp_path / "found.json", timeout_s=890.0)
    device, cloud, cascade = json.loads((tmp_path / "found.json").read_text())
    assert device["accuracy"] == pytest.approx(0.902, abs=0.0021)  # engines round differently
    assert cascade["accuracy"] > device["accuracy"]
    assert cascade["accuracy"] >= cloud["accuracy"] - 0.02
    assert cascade["bytes_up_per_question"] * 5 < cloud["bytes_up_per_question"]
