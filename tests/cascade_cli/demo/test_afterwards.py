"""What the demo leaves behind, and the commands that it prints about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade_cli.demo.afterwards import Left, Notes, things_to_try, usual_folder
from cascade_cli.demo.asking import Given

RELEASE = Path("release")


def given(question_id: str, **more: Any) -> Given:
    said = {"id": question_id, "correction": False, "trail": [{}, {}]}
    return Given("barn.cam1", said | more, right=True, ms=1.0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left_by(folder: Path, journals: Path) -> Left:
    (journals / "barn.cam1.journal").touch()
    notes = Notes()
    for each in (given("q1"), given("q2", correction=True), given("q3")):
        notes.note(each)
    left = notes.leave(folder, journals)
    assert left is not None
    return left


def test_what_lies_in_the_usual_folder_is_asked_about_without_naming_it(home: Path):
    said = things_to_try(left_by(usual_folder(), home), RELEASE)
    assert "why --last 20\n" in said
    assert "why q2\n" in said


def test_elsewhere_or_beside_settings_of_an_agent_the_place_is_named(home: Path):
    said = things_to_try(left_by(home / "kept", home), RELEASE)
    assert "why --last 20 --answers kept/answers.jsonl\n" in said
    assert "why q2 --journal kept/barn.cam1.journal\n" in said
    left = left_by(usual_folder(), home)
    (home / "edge.toml").touch()
    assert "why --last 20 --answers home/cascade/demo/answers.jsonl\n" in things_to_try(left, RELEASE)
