"""The table of sensors: which kind is which class, loaded when it is used."""

from __future__ import annotations

from importlib import import_module

from cascade.errors import SettingsError
from edge_agent.sensors.sensor import Sensor
from edge_agent.sensors.sensor_settings import SensorTable

SENSORS: dict[str, str] = {
    "replay": "edge_agent.sensors.replay:ReplaySensor",
    "command": "edge_agent.sensors.command:CommandSensor",
}
"""A new kind is a line here, and a struct in `sensor_settings.py`."""


def make_sensor(name: str, settings: SensorTable) -> Sensor:
    """The sensor of these settings, not started."""
    kind = settings.__struct_config__.tag
    if kind not in SENSORS:
        raise SettingsError(name, [f"sensor.kind: found {kind!r}, expected one of {', '.join(sorted(SENSORS))}"])
    module, _, cls = SENSORS[str(kind)].partition(":")
    sensor: Sensor = getattr(import_module(module), cls)(name, settings)
    return sensor
