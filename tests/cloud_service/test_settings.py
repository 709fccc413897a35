"""The settings of the cloud service."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.adapters.settings_file import read_settings
from cascade.errors import SettingsError
from cloud_service.settings import CloudSettings

SERVICE = """
[below]
ca_file = "a.pem"
cert_file = "a.pem"
key_file = "a.pem"

[[tasks]]
name = "digits"
release = "release"
"""


def read(text: str, folder: Path) -> CloudSettings:
    (folder / "release").mkdir(exist_ok=True)
    (folder / "a.pem").write_text("x")
    (folder / "cloud.toml").write_text(text)
    return read_settings(folder / "cloud.toml", CloudSettings)


def test_a_service_needs_few_lines(tmp_path: Path) -> None:
    settings = read(SERVICE, tmp_path)
    assert settings.service.name == "cloud"
    assert settings.below.bind == "127.0.0.1"
    assert settings.below.require_client_cert


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('ca_file = "a.pem"', "", "below.ca_file: "),
        ('key_file = "a.pem"', "", "below.cert_file: "),
        ('name = "digits"', 'name = "dig its"', "tasks[0].name: "),
        ("[[tasks]]", "[[task]]", "task: is unknown; did you mean tasks?"),
    ],
)
def test_a_mistake_is_told_with_its_key(old: str, new: str, mistake: str, tmp_path: Path) -> None:
    assert old in SERVICE
    with pytest.raises(SettingsError) as caught:
        read(SERVICE.replace(old, new), tmp_path)
    assert caught.value.mistakes[0].startswith(mistake)


def test_listening_without_encryption_must_be_asked_for(tmp_path: Path) -> None:
    bare = SERVICE.replace('ca_file = "a.pem"\ncert_file = "a.pem"\nkey_file = "a.pem"', "insecure_ok = true")
    assert read(bare, tmp_path).below.insecure_ok
