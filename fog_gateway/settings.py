"""The settings of a fog gateway: what a person writes in its TOML file.

Keys and units are promises. A relative path is relative to the settings file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cascade.adapters.link_settings import GrpcAboveTable, MqttBelowTable
from cascade.adapters.settings_tables import (
    AnsweringLimitsTable,
    AuditTable,
    Count,
    EngineTable,
    LogTable,
    MetricsTable,
    ModelTable,
    Name,
    NodeName,
    Table,
    TaskTable,
)
from cascade.messages import site_of


class GatewayTable(Table, frozen=True, kw_only=True):
    """Who this gateway is."""

    name: NodeName
    """`<site>.<name>`, unique in the fleet, and the name in its certificate."""
    site: Name
    """The site whose devices it serves."""
    state_dir: Path = Path("/var/lib/cascade")
    """Where what it keeps between its starts is. Made if it is not there."""

    def mistakes(self) -> list[str]:
        if site_of(self.name) != self.site:
            return [f'name: found "{self.name}", expected one that begins with the site, as "{self.site}.gateway"']
        return []


class StateTable(Table, frozen=True, kw_only=True):
    """What gateways of one site have in common."""

    kind: Literal["memory"] = "memory"
    """`memory`: this is the only gateway of its site, or each remembers its own answers."""


class DevicesTable(Table, frozen=True, kw_only=True):
    """What the devices of the site may make this gateway hold."""

    max_devices: Count = 1000
    """Whose presence and metrics are shown. Questions of devices beyond these are answered all the same."""
    max_series_per_device: Count = 1000
    """Lines of a device's metrics (a histogram has one for each bucket); more are left out and counted."""


class FogSettings(Table, frozen=True, kw_only=True):
    """The whole file."""

    gateway: GatewayTable
    below: MqttBelowTable
    above: GrpcAboveTable | None = None
    """Absent: there is no cloud, and what this gateway can't answer stays unanswered."""
    tasks: tuple[TaskTable, ...] = ()
    """None: everything climbs."""
    state: StateTable = StateTable()
    devices: DevicesTable = DevicesTable()
    limits: AnsweringLimitsTable = AnsweringLimitsTable()
    engine: EngineTable = EngineTable()
    model: ModelTable = ModelTable()
    audit: AuditTable = AuditTable()
    metrics: MetricsTable = MetricsTable()
    log: LogTable = LogTable()

    def mistakes(self) -> list[str]:
        if not self.tasks and self.above is None:
            return ["tasks: is missing, expected one or more, or a table [above]: nothing could be answered"]
        return []
