"""`cascade init`: what it writes is right, complete, and never over what is there."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.adapters.scripted_release import write_scripted_release
from cascade.adapters.settings_file import read_settings, settings_from
from cascade_cli.local_processes import free_port
from cascade_cli.settings_page import _tables_in, keys_of, page
from cascade_cli.settings_sentences import about, sentences_of
from cloud_service.settings import CloudSettings
from edge_agent.settings import EdgeSettings
from fog_gateway.settings import FogSettings

DIGITS = Path(__file__).resolve().parents[2] / "examples/digits/release"
KINDS = {"edge": EdgeSettings, "fog": FogSettings, "cloud": CloudSettings}
CERTIFICATES = ("ca.pem", "device1.pem", "device1.key", "gateway1.pem", "gateway1.key", "cloud.pem", "cloud.key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def make_certificates(folder: Path) -> None:
    (folder / "certs").mkdir()
    for name in CERTIFICATES:
        (folder / "certs" / name).write_text("")


def uncommented(text: str) -> str:
    """Every key that stands at its default, as somebody would set it who changes nothing."""
    lines, quiet = [], False
    for line in text.splitlines():
        if re.match(r"#?\[", line):
            quiet = line.startswith("#")
        at_default = re.match(r"#([a-z_]+ = .*)", line)
        lines.append(at_default[1] if at_default and not quiet else line)
    return "\n".join(lines)


@pytest.mark.parametrize("tier", KINDS)
@pytest.mark.parametrize("security", [["--insecure"], []])
def test_each_file_passes_the_check(tier, security, cascade, folder):
    assert cascade("init", tier, "--folder", folder, *security).code == 0
    if not security:
        make_certificates(folder)
    said = cascade("check", folder / f"{tier}.toml")
    assert said.code == 0, said.err
    assert f"right, for the {tier} tier" in said.out


def test_without_a_tier_all_three_are_written(cascade, folder, monkeypatch):
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert cascade("init").code == 0
    assert sorted(path.name for path in folder.glob("*.toml")) == ["cloud.toml", "edge.toml", "fog.toml"]


@pytest.mark.parametrize("tier", KINDS)
def test_every_key_that_there_is_stands_in_the_file(tier, cascade, folder):
    cascade("init", tier, "--folder", folder)
    table, found = "", set()
    for line in (folder / f"{tier}.toml").read_text().splitlines():
        if header := re.match(r"#?\[+([a-z_.]+)\]+", line):
            table = header[1]
            found.add(table)
        elif key := re.match(r"#?([a-z_]+) = ", line):
            found.add(f"{table}.{key[1]}")
    assert keys_of(KINDS[tier]) - found == set()


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_key_and_every_table_has_a_sentence(kind):
    def walk(inspected: Any, done: set[type]) -> list[str]:
        missing = []
        for table in _tables_in(inspected):
            if table.cls not in done:
                done.add(table.cls)
                known = sentences_of(table.cls)
                missing += [table.cls.__name__] if not about(table.cls) else []
                for field in table.fields:
                    plain = not _tables_in(field.type)
                    missing += [f"{table.cls.__name__}.{field.name}"] if plain and field.name not in known else []
                    missing += walk(field.type, done)
        return missing

    assert walk(msgspec.inspect.type_info(kind), set()) == []


@pytest.mark.parametrize("tier", KINDS)
def test_the_defaults_that_are_shown_are_the_defaults(tier, cascade, folder):
    """Uncommenting all keys that have a default changes nothing."""
    cascade("init", tier, "--folder", folder, "--insecure")
    path = folder / f"{tier}.toml"
    as_written = read_settings(path, KINDS[tier])
    without = re.sub(r"\n#(\w+_file|port|wake_task|wakes|worth_asking|provisional_at) = .*", "", path.read_text())
    as_shown = settings_from(tomllib.loads(uncommented(without)), KINDS[tier], tier, folder)
    assert as_shown == as_written


@pytest.mark.parametrize(
    ("table", "more"),
    [("[streams.watch]", ""), ("[journal]", ""), ("[above]", 'host = "broker.example"'), ("[ask_socket]", "")],
)
def test_a_table_that_is_commented_out_is_right_when_it_is_uncommented(table, more, tmp_path):
    bare = {
        "device": {"name": "barn.cam1"},
        "tasks": [{"name": "ripe", "release": "release"}],
        "streams": [{"name": "cam", "task": "ripe", "sensor": {"kind": "replay", "path": "x.npz"}}],
    }
    (tmp_path / "release").mkdir()
    text = page(EdgeSettings, bare, "head")
    begin = text.index(f"\n#{table}")
    end = text.find("\n\n", begin)
    freed = re.sub(r"\n#(?=[a-z\[])", "\n", re.sub(r"\n#(\w+_file|wake_task|wakes) = .*", "", text[begin:end]))
    whole = tomllib.loads(text[:begin] + freed + text[end:])
    settings_from(whole, EdgeSettings, "edge.toml", tmp_path)


def test_what_is_there_is_not_overwritten_but_by_force(cascade, folder):
    folder.mkdir()
    (folder / "fog.toml").write_text("mine")
    said = cascade("init", "all", "--folder", folder)
    assert said.code == 1
    assert "fog.toml: there already; --force overwrites, --folder writes elsewhere" in said.err
    assert [path.name for path in folder.iterdir()] == ["fog.toml"]
    assert (folder / "fog.toml").read_text() == "mine"
    assert cascade("init", "all", "--folder", folder, "--force").code == 0
    assert (folder / "fog.toml").read_text() != "mine"


def test_what_was_said_stands_in_the_files(cascade, folder, tmp_path):
    release = write_scripted_release(tmp_path / "ripe", task="ripe")
    words = ["--site", "barn", "--broker", "broker.example:8884", "--cloud", "cloud.example:443"]
    said = cascade("init", "all", "--folder", folder, "--release", release, *words)
    make_certificates(folder)
    edge, fog, cloud = (read_settings(folder / f"{tier}.toml", kind) for tier, kind in KINDS.items())
    assert (edge.device.name, edge.above.host, edge.above.port) == ("barn.device1", "broker.example", 8884)
    assert (fog.gateway.site, fog.above.host, fog.above.port) == ("barn", "cloud.example", 443)
    assert (cloud.below.bind, cloud.below.port, cloud.tasks[0].name) == ("0.0.0.0", 443, "ripe")
    assert "not there yet" in said.out
    assert not (folder / "releases").exists()


@pytest.mark.parametrize("tier", ["edge", "fog"])
def test_who_follows_the_settings_learns_whether_the_tier_above_agrees(tier, cascade, folder):
    cascade("init", tier, "--folder", folder, "--insecure")
    assert read_settings(folder / f"{tier}.toml", KINDS[tier]).audit.share == 0.01


def test_what_is_asked_first_is_no_image_of_one_grey(cascade, folder):
    said = cascade("init", "edge", "--folder", folder, "--insecure", "--release", DIGITS)
    asked = re.search(r"\{'image': (.*?)\}\)", said.out)
    sample = eval(asked[1], {"n": np})
    assert (sample.shape, sample.dtype, sample.min() < sample.max() <= 16) == ((8, 8), np.uint8, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["edge", "--name", "no good"], 2, 'device.name: found "site1.no good", expected <site>.<name>'),
        (["fog", "--site", "a.b"], 2, "gateway.site: "),
        (["all", "--broker", "here:port"], 2, "found 'here:port', expected HOST:PORT"),
        (["all", "--insecure", "--broker", "broker.example:1883"], 2, "--insecure: found broker.example"),
        (["all", "--release", "nowhere"], 1, "nowhere"),
        (["all", "--folder", "/proc/nowhere"], 1, "/proc/nowhere"),
        (["moon"], 2, "invalid choice: 'moon'"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words, code, said, cascade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = cascade("init", *words)
    assert ended.code == code
    assert said in ended.err
    assert list(tmp_path.glob("*.toml")) == []


def test_an_address_of_version_6_is_understood(cascade, folder):
    cascade("init", "edge", "--folder", folder, "--insecure", "--broker", "[::1]:1884")
    above = read_settings(folder / "edge.toml", EdgeSettings).above
    assert (above.host, above.port) == ("::1", 1884)


@pytest.mark.needs_services
def test_what_it_says_to_do_next_can_be_done_and_answers(cascade, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    ports = free_port(), free_port()
    said = cascade(
        "init", "all", "--insecure", "--folder", folder,
        "--broker", f"127.0.0.1:{ports[0]}", "--cloud", f"127.0.0.1:{ports[1]}",
    )  # fmt: skip
    lines = said.out.splitlines()
    first = lines.index("then each in a terminal of its own:") + 1
    asked = lines.index("ask, as a program would:") + 1
    with contextlib.ExitStack() as started, (tmp_path / "log").open("wb") as log:
        for line in lines[first : asked - 1]:
            process = subprocess.Popen(shlex.split(line), stdout=log, stderr=log)
            started.callback(process.wait, 20)
            started.callback(process.terminate)
        give_up_at = time.monotonic() + 30.0
        while not (folder / "ask.sock").exists() and time.monotonic() < give_up_at:
            time.sleep(0.05)
        answered = subprocess.run(shlex.split(lines[asked]), capture_output=True, text=True, timeout=60, check=True)
        why = subprocess.run(shlex.split(lines[asked + 2]), capture_output=True, text=True, timeout=60, check=True)
    outcome, label, by, *_, question_id = answered.stdout.split()
    assert (outcome, by) == ("answered", "by")
    assert label in ("yes", "no")
    assert why.stdout.startswith(question_id)


def test_a_broker_is_only_started_for_a_trial(cascade, folder):
    assert "1883" not in cascade("init", "all", "--folder", folder).out
    assert "1883" in cascade("init", "fog", "--folder", folder, "--insecure", "--force").out
    assert "1883" not in cascade("init", "cloud", "--folder", folder, "--insecure", "--force").out
