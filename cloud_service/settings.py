"""The settings of the cloud service: what a person writes in its TOML file.

Keys and units are promises. A relative path is relative to the settings file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from cascade.adapters.link_settings import GrpcBelowTable
from cascade.adapters.settings_tables import (
    AnsweringLimitsTable,
    EngineTable,
    LogTable,
    MetricsTable,
    ModelTable,
    Name,
    Table,
    TaskTable,
)


class ServiceTable(Table, frozen=True, kw_only=True):
    """Who this service is."""

    name: Name = "cloud"
    """What the trail of an answer calls it."""
    state_dir: Path = Path("/var/lib/cascade")
    """Where what it keeps between its starts is. Made if it is not there."""


class CloudSettings(Table, frozen=True, kw_only=True):
    """The whole file."""

    service: ServiceTable = ServiceTable()
    below: GrpcBelowTable
    tasks: Annotated[tuple[TaskTable, ...], Meta(min_length=1)]
    limits: AnsweringLimitsTable = AnsweringLimitsTable()
    engine: EngineTable = EngineTable()
    model: ModelTable = ModelTable()
    metrics: MetricsTable = MetricsTable()
    log: LogTable = LogTable()
