"""What a newcomer sees first, and how the command ends."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cascade_cli import exit_codes
from cascade_cli.__main__ import INTERRUPTED
from cascade_cli.command_line import GROUPS, START_HERE, new_parser

COMMANDS = {name: room for rooms in GROUPS.values() for name, room in rooms.items()}
DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/commands.md").read_text()


def test_help_says_what_to_do_first_and_has_a_line_for_each_command(cascade):
    said = cascade("--help")
    assert said.code == 0
    assert said.out.startswith("usage: cascade [-h] [--version] COMMAND ...\n")
    assert said.out.index("start here:") < said.out.index("options:")
    for command, about in START_HERE:
        assert command in said.out
        assert about in said.out
    for name, room in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(room.ABOUT)}$", said.out, re.MULTILINE)


def test_without_a_word_it_helps_and_ends_with_2(cascade):
    said = cascade()
    assert said.code == exit_codes.WRONG
    assert "start here:" in said.err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_examples_that_its_own_parser_takes(name, cascade):
    said = cascade(name, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: cascade {name} ")
    for command, about in COMMANDS[name].EXAMPLES:
        assert command in said.out
        assert about in said.out
        words = shlex.split(re.sub(r'.*?cascade (.*?)(\)"| \|.*)?$', r"\1", command))
        assert new_parser().parse_args(words).run is COMMANDS[name].run


@pytest.mark.parametrize("command", [command for command, _ in START_HERE])
def test_what_to_do_first_can_be_done(command):
    new_parser().parse_args(command.split()[1:])


def test_each_exit_code_is_documented():
    listed = dict(re.findall(r"^\| (\d+) \| (.*) \|$", DOCUMENT, re.MULTILINE))
    assert {int(code): meaning for code, meaning in listed.items()} == exit_codes.MEANINGS


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented(name):
    assert f"## `cascade {name}" in DOCUMENT


def test_a_version_is_told(cascade):
    said = cascade("--version")
    assert (said.code, said.out.startswith("cascade ")) == (0, True)


def test_an_unknown_command_names_those_that_there_are(cascade):
    said = cascade("whi")
    assert said.code == exit_codes.WRONG
    assert all(f"'{name}'" in said.err or name in said.err for name in COMMANDS)


def test_interrupted_it_ends_with_130(cascade, monkeypatch):
    monkeypatch.setattr("cascade_cli.check.run", lambda wanted: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cascade("check", "edge.toml").code == exit_codes.INTERRUPTED


def test_as_a_module_it_is_the_same_command():
    command = [sys.executable, "-m", "cascade_cli", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.startswith("cascade ")


def test_interrupted_while_it_is_still_imported_it_ends_without_a_traceback():
    program = """
import sys
class Pressed:
    def find_spec(self, name, path, target=None):
        if name == "cascade_cli.command_line":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Pressed())
from cascade_cli.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (exit_codes.INTERRUPTED, "")


def test_the_code_of_an_interruption_is_one():
    assert INTERRUPTED == exit_codes.INTERRUPTED


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "ten", "1e9"])
def test_the_demo_takes_no_time_that_is_none(seconds, cascade):
    said = cascade("demo", f"--seconds={seconds}")
    assert said.code == exit_codes.WRONG
    assert f"found '{seconds}', expected seconds from 1 to 3600" in said.err


@pytest.mark.parametrize("words", [("demo", "--release"), ("release",), ("init", "--release")])
def test_where_no_release_is_it_says_how_one_is_made(words, cascade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cascade(*words, "nowhere")
    assert said.code == exit_codes.FAILED
    assert (
        "release.json: No such file or directory; `cascade release FOLDER --edge FILE ...` makes a release" in said.err
    )
