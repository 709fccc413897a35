"""The settings of an edge agent: what may be written, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.adapters.settings_file import read_settings
from cascade.errors import SettingsError
from cascade.inference.budget import Allowance
from cascade.inference.events import Durability
from edge_agent.sensors.sensor_settings import CommandTable, ReplayTable
from edge_agent.settings import EdgeSettings

ALONE = """
[device]
name = "barn.cam1"
state_dir = "state"

[[tasks]]
name = "digits"
release = "release"

[[streams]]
name = "cam"
task = "digits"
sensor = { kind = "replay", path = "digits.npz" }
"""

WHOLE = """
[device]
name = "barn.cam1"

[above]
host = "broker.barn.example"
port = 8883
username = "barn.cam1"
password_file = "secret"
ca_file = "secret"

[above.asking]
in_flight = 8
failures_to_open = 2

[above.budget]
bytes_per_minute = 600
joules_per_minute = 6
joules_burst = 60
joules_per_byte = 0.001

[[tasks]]
name = "digits"
release = "release"

[[streams]]
name = "cam"
task = "digits"
durability = "synced"
deadline_ms = 200
priority = 7
keep_asking_s = 60
encoding = "none"
max_per_s = 5
answers = "mqtt"
watch = { window = 3, step = 1, patience = 2, cool_down_s = 1.5, pre_roll = 1 }
sensor = { kind = "command", argv = ["camera", "--raw"], shape = [28, 28], dtype = "uint8" }

[[streams]]
name = "hand"
task = "digits"
answers = "asker"

[ask_socket]
path = "run/ask.sock"
group = "cascade"

[spool]
max_bytes = 1000000

[journal]
path = "journal"
"""


def read(text: str, folder: Path) -> EdgeSettings:
    (folder / "release").mkdir(exist_ok=True)
    (folder / "secret").write_text("s")
    (folder / "edge.toml").write_text(text)
    return read_settings(folder / "edge.toml", EdgeSettings)


def mistakes(text: str, folder: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(text, folder)
    return caught.value.mistakes


def test_a_device_alone_needs_few_lines(tmp_path: Path) -> None:
    settings = read(ALONE, tmp_path)
    assert settings.above is None
    assert settings.device.state_dir == tmp_path / "state"
    assert settings.streams[0].sensor == ReplayTable(path=tmp_path / "digits.npz")


def test_every_table_is_read(tmp_path: Path) -> None:
    settings = read(WHOLE, tmp_path)
    assert settings.streams[0].durability is Durability.SYNCED
    assert settings.streams[0].sensor == CommandTable(argv=("camera", "--raw"), shape=(28, 28))
    assert settings.above is not None
    assert settings.above.password_file == tmp_path / "secret"
    assert settings.asked_streams == ("hand",)


def test_minutes_of_a_budget_become_seconds_of_the_uplink(tmp_path: Path) -> None:
    above = read(WHOLE, tmp_path).above
    assert above is not None
    uplink = above.uplink_settings()
    assert (uplink.in_flight, uplink.failures_to_open, uplink.joules_per_byte) == (8, 2, 0.001)
    assert uplink.bytes == Allowance(10.0, 600.0)
    assert uplink.joules == Allowance(0.1, 60.0)


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('"barn.cam1"', '"cam1"', "device.name: "),
        ('"barn.cam1"', '"barn.cam/+"', "device.name: "),
        ('"barn.cam1"', '"barn.cam1\\n"', "device.name: "),
        ('task = "digits"', 'task = "digit"', "streams[0].task: "),
        ('path = "digits.npz"', 'pth = "digits.npz"', "streams[0].sensor.pth: "),
        ("sensor = ", "answers = 'mqtt'\nsensor = ", "streams[0].answers: "),
        ("sensor = ", "answers = 'asker'\nsensor = ", "streams[0].answers: "),
        ('"replay", path = "digits.npz"', '"command", argv = ["x"]', "streams[0].sensor.shape: "),
        ('"replay", path = "digits.npz"', '"command", argv = []', "streams[0].sensor.argv: "),
    ],
)
def test_a_mistake_is_told_with_its_key(old: str, new: str, mistake: str, tmp_path: Path) -> None:
    assert old in ALONE
    assert mistakes(ALONE.replace(old, new), tmp_path)[0].startswith(mistake)


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('username = "barn.cam1"', "", "above.username: "),
        ('ca_file = "secret"', 'ca_file = "nothing"', "above.ca_file: found no file"),
        ('ca_file = "secret"', 'cert_file = "secret"', "above.key_file: "),
        ('ca_file = "secret"', 'cert_file = "secret"\nkey_file = "secret"', "above.ca_file: "),
        ("joules_per_byte = 0.001", "", "above.budget.joules_per_byte: "),
        ("in_flight = 8", "cool_most_s = 0.5", "above.asking.cool_most_s: "),
        ('group = "cascade"', 'streams = ["cam", "hnd"]', "ask_socket.streams[1]: "),
        ("port = 8883", "dead_after_s = 1", "above.dead_after_s: "),
        ("pre_roll = 1", 'wakes = "hand"', "streams[0].watch.wakes: "),
        ("pre_roll = 1", 'wakes = "cam"', "streams[0].watch.wakes: "),
        ('answers = "asker"', 'answers = "asker"\nwatch = { window = 2 }', "streams[1].watch: "),
    ],
)
def test_what_does_not_go_together_is_told_with_its_key(old: str, new: str, mistake: str, tmp_path: Path) -> None:
    assert old in WHOLE
    assert any(told.startswith(mistake) for told in mistakes(WHOLE.replace(old, new), tmp_path))


def test_streams_that_wake_each_other_would_never_be_on(tmp_path: Path) -> None:
    sensor = '[streams.sensor]\nkind = "replay"\npath = "digits.npz"\n'
    streams = "".join(
        f'[[streams]]\nname = "{name}"\ntask = "digits"\nwatch = {{ wakes = "{wakes}" }}\n{sensor}'
        for name, wakes in (("a", "b"), ("b", "a"), ("mic", "cam"))
    )
    found = mistakes(f"{ALONE}\n{streams}", tmp_path)
    assert [told.partition(",")[0] for told in found] == [
        'streams[1].watch.wakes: found "b"',
        'streams[2].watch.wakes: found "a"',
    ]


@pytest.mark.parametrize(("more", "port"), [("", 1883), ('ca_file = "secret"', 8883), ("port = 1234", 1234)])
def test_the_port_is_the_usual_one_with_or_without_encryption(more: str, port: int, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "release").mkdir()
    (tmp_path / "digits.npz").write_text("x")
    (tmp_path / "edge.toml").write_text(f'{ALONE}\n[above]\nhost = "broker"\n{more}\n')
    above = read_settings(tmp_path / "edge.toml", EdgeSettings).above
    assert above is not None
    assert above.mqtt_settings("barn.cam1").port == port


def test_a_stream_that_nobody_asks_is_for_a_program_with_the_agent_in_it(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    path = tmp_path / "edge.toml"
    path.write_text(ALONE.replace('sensor = { kind = "replay", path = "digits.npz" }', ""))
    settings = read_settings(path, EdgeSettings)
    assert [mistake.split(":")[0] for mistake in settings.silent_streams] == ["streams[0].sensor"]
