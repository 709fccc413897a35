"""Completion: the scripts are sourced by the shells themselves, and asked as a person would."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from cascade_cli.command_line import GROUPS, new_parser
from cascade_cli.completion import nodes_of

COMMANDS = {name for rooms in GROUPS.values() for name in rooms}
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_cascade
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
autoload -U compinit; compinit -u -D
compadd() { shift; print -rl -- "$@" }
_files() { print -rl -- *(N) }
source "$1"; shift
words=("$@"); CURRENT=$#
_cascade
"""


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def offered(cascade, tmp_path):
    """What a shell offers for the last of these words, in a folder with two settings files."""
    place = tmp_path / "here"
    place.mkdir()
    (place / "edge.toml").write_text("")
    (place / "my fog.toml").write_text("")

    def ask(name: str, *words: str) -> set[str]:
        script = tmp_path / name
        script.write_text(cascade("completion", name).out)
        if name == "fish":
            command = [shell(name), "--no-config", "-c", f'source {script}; complete -C "{" ".join(words)}"']
        else:
            code = {"bash": BASH, "zsh": ZSH}[name]
            command = [shell(name), *(["-f"] if name == "zsh" else []), "-c", code, name, str(script), *words]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=30)
        assert ended.stderr == ""
        return {line.split("\t")[0] for line in ended.stdout.splitlines() if line}

    return ask


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_commands_are_offered_first(name, offered):
    assert offered(name, "cascade", "") == COMMANDS


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_of_a_command_its_choices_are_offered(name, offered):
    assert {"edge", "fog", "cloud", "all"} <= offered(name, "cascade", "init", "")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_of_a_command_its_options_are_offered(name, offered):
    assert {"--last", "--config", "--journal"} <= offered(name, "cascade", "why", "--")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_files_are_offered_where_a_file_belongs(name, offered):
    assert "edge.toml" in offered(name, "cascade", "why", "--config", "")
    assert "edge.toml" in offered(name, "cascade", "check", "")


def test_a_name_with_a_space_is_one_name(offered):
    assert offered("bash", "cascade", "check", "m") == {"my fog.toml"}


def test_what_is_begun_is_narrowed(offered):
    assert offered("bash", "cascade", "w") == {"why"}
    assert offered("bash", "cascade", "init", "--rel") == {"--release"}
    assert offered("bash", "cascade", "release", "--kind", "c") == {"classes"}


def test_every_option_of_every_command_is_known_to_the_script():
    nodes = {node.path: node for node in nodes_of(new_parser())}
    assert {path[0] for path in nodes if path} == COMMANDS
    assert all("--help" in {word for option in node.options for word in option.words} for node in nodes.values())
