"""The settings of a fog gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.adapters.settings_file import read_settings
from cascade.errors import SettingsError
from fog_gateway.settings import FogSettings

GATEWAY = """
[gateway]
name = "barn.gw1"
site = "barn"

[below]
host = "127.0.0.1"

[above]
host = "cloud.example"
ca_file = "ca.pem"
"""


def read(text: str, folder: Path) -> FogSettings:
    (folder / "ca.pem").write_text("x")
    (folder / "fog.toml").write_text(text)
    return read_settings(folder / "fog.toml", FogSettings)


def test_a_gateway_between_devices_and_cloud_needs_few_lines(tmp_path: Path) -> None:
    settings = read(GATEWAY, tmp_path)
    assert settings.below.group == "gateways"
    assert settings.above is not None
    assert settings.above.uplink_settings().in_flight == 256


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('site = "barn"', 'site = "house"', "gateway.name: "),
        ('ca_file = "ca.pem"', "", "above.ca_file: "),
        ('ca_file = "ca.pem"', 'ca_file = "ca.pem"\nheartbeat_s = 9', "above.dead_after_s: "),
        (
            'ca_file = "ca.pem"',
            'ca_file = "ca.pem"\nretry_most_s = 0.1',
            "above.retry_most_s: found 0.1, expected retry_first_s",
        ),
        ('[above]\nhost = "cloud.example"\nca_file = "ca.pem"', "", "tasks: "),
        ('host = "127.0.0.1"', 'host = "127.0.0.1"\nreceive_maximum = 0', "below.receive_maximum: "),
        ('[below]\nhost = "127.0.0.1"', "", "below: is missing"),
    ],
)
def test_a_mistake_is_told_with_its_key(old: str, new: str, mistake: str, tmp_path: Path) -> None:
    assert old in GATEWAY
    with pytest.raises(SettingsError) as caught:
        read(GATEWAY.replace(old, new), tmp_path)
    assert caught.value.mistakes[0].startswith(mistake)


def test_a_link_without_encryption_must_be_asked_for(tmp_path: Path) -> None:
    settings = read(GATEWAY.replace('ca_file = "ca.pem"', "insecure_ok = true"), tmp_path)
    assert settings.above is not None
    assert settings.above.insecure_ok
