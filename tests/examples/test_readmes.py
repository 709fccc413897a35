"""Commands that stand in the READMEs of examples are commands: their scripts, files and options are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cascade_cli.command_line import new_parser

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE_NAMES = ("bring_your_own", "fashion", "indoor_location", "keywords", "pump_anomaly", "spoken_digits")
PROGRAMS = ("cascade", "python", "edge-agent", "fog-gateway", "cloud-service")


def commands(example: str) -> Iterator[tuple[str, ...]]:
    """Those in blocks, and those of one line that stand in sentences."""
    page = (EXAMPLES / example / "README.md").read_text()
    lines = re.findall(r"```(?:bash|sh)\n(.*?)```", page, re.DOTALL)
    lines += re.findall(r"(?<!`)`((?:cascade|python|CASCADE_DATA=…) [^`\n]+)`(?!`)", page)
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|;|&|\||#", line):
            words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
            if words and words[0] in PROGRAMS and len(words) > (2 if words[0] == "cascade" else 1):
                yield tuple(word for word in words if word not in (">", "answers.jsonl") or words[0] == "cascade")


def of(*programs: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, words) for name in EXAMPLE_NAMES for words in dict.fromkeys(commands(name)) if words[0] in programs]


def test_commands_are_found():
    assert {name for name, _ in of(*PROGRAMS)} == set(EXAMPLE_NAMES)


@pytest.mark.parametrize(("example", "words"), of("cascade"), ids=str)
def test_what_is_typed_after_cascade_is_understood(example, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("cat\ndog\n")
    if "…" in words or "--help" in words:
        pytest.skip("not a whole command")
    new_parser().parse_args(list(words[1:]))


@pytest.mark.parametrize(("example", "words"), of("edge-agent", "fog-gateway", "cloud-service"), ids=str)
def test_settings_that_are_named_are_there(example, words):
    assert words[1] == "--config"
    assert (EXAMPLES / example / words[2]).is_file()


SCRIPTS = sorted({(name, words[1]) for name, words in of("python") if words[1].endswith(".py")})


@pytest.mark.parametrize(("example", "script"), SCRIPTS)
def test_a_script_that_is_named_is_there(example, script):
    assert (EXAMPLES / example / script).is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("example", "script"), SCRIPTS)
def test_a_script_has_the_options_that_are_named(example: str, script: str, run: Callable[..., str]):
    text = (EXAMPLES / example / script).read_text()
    if "argparse" not in text:
        pytest.skip("reads no options: the example's own test runs it")
    if "import torch" in text:
        pytest.importorskip("torch", reason="torch is not installed: pip install '.[compress]'")
    known = run(f"{example}/{script}", "--help")
    for words in [words for name, words in of("python") if (name, words[1]) == (example, script)]:
        assert [word for word in words if word.startswith("--") and word not in known] == []
