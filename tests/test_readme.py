"""The code of the README and of docs/run.md runs, and prints what it says; the settings are right."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from cascade.adapters.settings_file import settings_from
from cloud_service.settings import CloudSettings
from edge_agent.settings import EdgeSettings
from fog_gateway.settings import FogSettings

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"device": EdgeSettings, "gateway": FogSettings, "service": CloudSettings}


class Block(NamedTuple):
    page: str
    language: str
    text: str
    prints: str | None
    """What stands below it, where that says what it prints."""


def blocks(page: str, language: str) -> list[Block]:
    found = re.findall(r"```(\w*)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [
        Block(page, language, text, below[1] if below[0] == "text" else None)
        for (kind, text), below in zip(found, [*found[1:], ("", "")], strict=True)
        if kind == language
    ]


CODE = blocks("README.md", "python") + blocks("docs/run.md", "python")
SETTINGS = blocks("docs/run.md", "toml")


def test_the_readme_has_fifteen_lines_of_python():
    (code,) = blocks("README.md", "python")
    assert len([line for line in code.text.splitlines() if line]) <= 15
    assert code.prints is not None


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.page)
def test_code_runs_and_prints_what_stands_below_it(code, monkeypatch):
    if "cascade_cli.demo" in code.text:
        pytest.importorskip("sklearn")
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code.text, code.page, "exec"), {})
    assert code.prints is None or printed.getvalue() == code.prints


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.text.split()[0])
def test_the_settings_are_right(settings, tmp_path):
    document = tomllib.loads(settings.text)
    kind = next(kind for table, kind in KINDS.items() if table in document)
    for name in ("ca.pem", "cam1.pem", "cam1.key", "gw1.pem", "gw1.key", "cloud.pem", "cloud.key"):
        (tmp_path / name).write_text("")
    (tmp_path / "releases/ripe").mkdir(parents=True)
    settings_from(document, kind, settings.page, tmp_path)


def test_there_are_settings_for_every_tier():
    assert {settings.text.split()[0].strip("[]") for settings in SETTINGS} == set(KINDS)


@pytest.mark.parametrize("page", ["README.md", "docs/run.md", "examples/bring_your_own/README.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
