"""docs/evaluate.md: its settings are right, and it leaves out no key of them, nor of the JSON."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from cascade.adapters.settings_file import settings_from
from cascade_cli.evaluate.settings import DigitsTable, Evaluation, IdxTable, JournalOf

PAGE = (Path(__file__).resolve().parents[3] / "docs/evaluate.md").read_text()
SETTINGS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def keys_of(kind):
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        if (
            isinstance(field.type, type)
            and issubclass(field.type, msgspec.Struct)
            and "evaluate" in field.type.__module__
        ):
            yield from keys_of(field.type)


@pytest.mark.parametrize("text", SETTINGS)
def test_the_settings_are_right(text, tmp_path):
    for folder in ("releases/ripe", "releases/middle"):
        (tmp_path / folder).mkdir(parents=True)
    assert settings_from(tomllib.loads(text), Evaluation, "docs/evaluate.md", tmp_path)


@pytest.mark.parametrize("kind", [Evaluation, DigitsTable, IdxTable, JournalOf])
def test_each_key_of_the_settings_is_there(kind):
    missing = {key for key in keys_of(kind) if not re.search(rf"\b{key}\b", PAGE)}
    assert not missing


def test_each_key_of_the_json_is_there(evaluate):
    found = evaluate()
    keys = {*found, *found["systems"]["cascade"]}
    assert not {key for key in keys if f"`{key}`" not in PAGE}
