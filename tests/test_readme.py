"""The README's code runs, and prints what it says; its settings are right."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest

from cascade.adapters.settings_file import settings_from
from cloud_service.settings import CloudSettings
from edge_agent.settings import EdgeSettings
from fog_gateway.settings import FogSettings

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
KINDS = {"device": EdgeSettings, "gateway": FogSettings, "service": CloudSettings}


def test_the_fifteen_lines_run_and_print_what_the_readme_says():
    (code,) = [text for language, text in BLOCKS if language == "python"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    promised = re.search(r"It prints `(.*?)`, then `(.*?)`\.", README)
    assert printed.getvalue().splitlines() == list(promised.groups())


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "toml"])
def test_the_settings_are_right(text, tmp_path):
    document = tomllib.loads(text)
    kind = next(kind for table, kind in KINDS.items() if table in document)
    for name in ("ca.pem", "cam1.pem", "cam1.key", "gw1.pem", "gw1.key", "cloud.pem", "cloud.key"):
        (tmp_path / name).write_text("")
    (tmp_path / "releases/ripe").mkdir(parents=True)
    settings_from(document, kind, "README.md", tmp_path)
