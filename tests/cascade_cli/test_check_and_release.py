"""The operator's commands that look at files: what they say, and how they end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cascade.adapters.scripted_release import write_scripted_release
from cascade_cli.__main__ import main

EDGE = """
[device]
name = "barn.cam1"
[[tasks]]
name = "ripe"
release = "release"
[[streams]]
name = "cam"
task = "ripe"
sensor = { kind = "command", argv = ["camera"], shape = [6], dtype = "float32" }
"""
FOG = """
[gateway]
name = "barn.gw1"
site = "barn"
[below]
host = "127.0.0.1"
[[tasks]]
name = "ripe"
release = "release"
"""
CLOUD = """
[below]
insecure_ok = true
[[tasks]]
name = "ripe"
release = "release"
"""


def cascade(*words: str | Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["cascade", *(str(word) for word in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(("text", "tier"), [(EDGE, "edge"), (FOG, "fog"), (CLOUD, "cloud")])
def test_a_file_is_checked_with_the_models_that_it_names(text, tier, tmp_path, monkeypatch, capsys):
    write_scripted_release(tmp_path / "release", task="ripe")
    (tmp_path / "settings.toml").write_text(text)
    assert cascade("check", tmp_path / "settings.toml", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert f"right, for the {tier} tier" in said
    assert f"{tier}-model (" in said


@pytest.mark.parametrize(("text", "tier"), [(FOG, "fog"), (CLOUD, "cloud")])
def test_a_tier_whose_extra_is_not_installed_is_not_right(text, tier, tmp_path, monkeypatch, capsys):
    write_scripted_release(tmp_path / "release", task="ripe")
    (tmp_path / "settings.toml").write_text(text)
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert cascade("check", tmp_path / "settings.toml", monkeypatch=monkeypatch) == 1
    said = capsys.readouterr()
    assert "right" not in said.out
    assert f"the {tier} tier needs grpcio: pip install '.[{tier}]' in the folder of this repository" in said.err


def test_a_damaged_model_is_found_by_the_check(tmp_path, monkeypatch, capsys):
    write_scripted_release(tmp_path / "release", task="ripe")
    model = tmp_path / "release/edge/model.json"
    model.write_bytes(model.read_bytes().replace(b"echo", b"ecHo"))
    (tmp_path / "edge.toml").write_text(EDGE)
    assert cascade("check", tmp_path / "edge.toml", monkeypatch=monkeypatch) == 2
    assert "tasks[0].release: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[below]\n[gateway]\n[device]\n",
            "found [device], [gateway], expected just one of the tables [device]",
        ),
        ("", "found nothing, expected just one of the tables [device] (an edge agent), [gateway] (a fog gateway)"),
        ("[devise]\n[above]\n[[tasks]]\n[[streams]]\n", "devise: is unknown; did you mean device?"),
        ("[gatway]\n[below]\n[[tasks]]\n", "gatway: is unknown; did you mean gateway?"),
        ("[device\n", "is no TOML: Expected ']' at the end of a table declaration (at line 1, column 8)"),
        ("[gateway]\nname = \n", "is no TOML: Invalid value (at line 2, column 8)"),
        (
            FOG.replace('127.0.0.1"', '127.0.0.1"\nport = 99999'),
            "below.port: found 99999, expected a whole number from 1",
        ),
        (EDGE + f'[ask_socket]\npath = "{"x" * 120}"', "ask_socket.path: found one of "),
        ("[device]\nnam = 1\n", "device.nam: is unknown; did you mean name?"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "settings.toml").write_text(text)
    assert cascade("check", tmp_path / "settings.toml", monkeypatch=monkeypatch) == 2
    assert said in capsys.readouterr().err


def test_a_release_is_told_part_by_part(tmp_path, monkeypatch, capsys):
    write_scripted_release(tmp_path / "release", task="ripe")
    assert cascade("release", tmp_path / "release", monkeypatch=monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("for task ripe")
    assert [line.split(":")[0].strip() for line in lines if "bundle" in line] == ["edge", "fog", "cloud"]


def test_a_folder_without_a_release_is_told_so(tmp_path, monkeypatch, capsys):
    assert cascade("release", tmp_path, monkeypatch=monkeypatch) == 1
    assert "release.json: No such file" in capsys.readouterr().err


def test_an_unknown_gate_is_found_by_the_check_and_the_known_ones_are_named(tmp_path, monkeypatch, capsys):
    write_scripted_release(tmp_path / "release", task="ripe")
    manifest = tmp_path / "release/release.json"
    manifest.write_text(manifest.read_text().replace('"confidence"', '"confidense"'))
    (tmp_path / "edge.toml").write_text(EDGE)
    assert cascade("check", tmp_path / "edge.toml", monkeypatch=monkeypatch) == 2
    assert "tasks[0].release: stage edge-model: no gate 'confidense'; there are always" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told_with_what_writes_one(tmp_path, monkeypatch, capsys):
    assert cascade("check", tmp_path / "edge.toml", monkeypatch=monkeypatch) == 2
    assert "1 mistake\n  - cannot be opened: No such file or directory; `cascade init`" in capsys.readouterr().err


def test_a_file_of_another_tier_is_one_mistake(tmp_path, monkeypatch, capsys):
    (tmp_path / "fog.toml").write_text(FOG)
    assert cascade("why", "q1", "--config", tmp_path / "fog.toml", monkeypatch=monkeypatch) == 2
    assert "fog.toml: 1 mistake\n  - is for a fog gateway: it has a table [gateway]" in capsys.readouterr().err


def test_a_release_for_another_task_is_told_with_both_names(tmp_path, monkeypatch, capsys):
    write_scripted_release(tmp_path / "release", task="raw")
    (tmp_path / "edge.toml").write_text(EDGE)
    assert cascade("check", tmp_path / "edge.toml", monkeypatch=monkeypatch) == 2
    assert "tasks[0].release: is for task 'raw', expected 'ripe'" in capsys.readouterr().err
