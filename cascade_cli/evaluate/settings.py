"""What `cascade evaluate` is told: one small TOML file. Paths in it are relative to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from cascade.adapters.link_settings import AboveTable
from cascade.adapters.settings_tables import Amount, EngineTable, ExistingFolder, Milliseconds, Name, Share, Table
from cascade.release.bundle import TIERS
from edge_agent.sensors.sensor_settings import ReplayTable

AnyPath: TypeAlias = Annotated[Path, Meta(extra={"path": "any"})]
Limit: TypeAlias = Annotated[int, Meta(ge=0)]


class DigitsTable(Table, frozen=True, kw_only=True, tag_field="kind", tag="digits"):
    """The handwritten digits that scikit-learn carries, as `examples/digits/train.py` splits them."""

    split: Literal["train", "choose", "test"] = "test"
    """Which part. Nothing was trained or chosen on `test`."""
    limit: Limit = 0
    """Only the first so many samples. 0: all."""


class IdxTable(Table, frozen=True, kw_only=True, tag_field="kind", tag="idx"):
    """The idx files of MNIST and its kin, plain or as .gz."""

    images: AnyPath
    """The file of samples."""
    labels: AnyPath
    """The file of labels: whole numbers."""
    tensor: str = "image"
    """How the tensor is called."""
    names: tuple[str, ...] = ()
    """What the labels 0, 1, 2 … are called. Absent: "0", "1", "2" …"""
    shuffled: bool = False
    """In another order than the file's, always the same. Thresholds promise something of samples drawn by chance; in a
    file that is sorted by who wrote them, a device sees drift, and is careful."""
    limit: Limit = 0
    """Only the first so many samples. 0: all."""


class JournalOf(Table, frozen=True, kw_only=True, tag_field="kind", tag="journal"):
    """What a device lived through: the journal that its agent writes (`[journal]` in its settings)."""

    path: AnyPath
    """The file."""
    labels: AnyPath | None = None
    """What was right: a line of JSON for each question that somebody looked at, `{"id": "…", "label": "…"}`."""


DataTable: TypeAlias = ReplayTable | DigitsTable | IdxTable | JournalOf
"""Told apart by `kind`. A `replay` table is that of the sensor: .npz, or a folder of images."""


class LinkTable(Table, frozen=True, kw_only=True):
    """A link, as it is in the field."""

    latency_ms: Amount = 0.0
    """One way."""
    jitter_ms: Amount = 0.0
    """On top, evenly from 0 to this."""
    bytes_per_s: Amount = 0.0
    """In each direction; what is sent together queues. 0: no limit."""
    loss: Share = 0.0
    """Share of messages that never arrive."""


class LinksTable(Table, frozen=True, kw_only=True):
    """The links that lead up to each tier."""

    fog: LinkTable = LinkTable()
    cloud: LinkTable = LinkTable()


class TierTable(Table, frozen=True, kw_only=True):
    """How fast the models of a tier are, there."""

    model_ms: Amount = 0.0
    """What one call of a model takes. 0: what it takes on the machine that evaluates, times `slower`."""
    slower: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    """How many times slower that tier's machine is."""


class TiersTable(Table, frozen=True, kw_only=True):
    """The machines."""

    edge: TierTable = TierTable()
    fog: TierTable = TierTable()
    cloud: TierTable = TierTable()


class QuestionsTable(Table, frozen=True, kw_only=True):
    """How it is asked."""

    deadline_ms: Milliseconds = 1000.0
    """By then there is an answer, if only a provisional one: that one is judged."""
    keep_asking_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """For how long after the deadline a better answer is still wanted. It costs, and comes too late to be judged."""
    per_s: Amount = 0.0
    """Questions a second, of all devices together. 0: each when the one before has ended."""
    devices: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How many take turns in asking."""
    encoding: Literal["raw", "zlib", "zstd"] = "zlib"
    """How inputs are compressed on their way up: those of cloud only, too."""


class Evaluation(Table, frozen=True, kw_only=True):
    """The whole file."""

    release: ExistingFolder
    """The release, with the bundles of all its tiers."""
    data: DataTable
    """What is asked, and what is right."""
    rivals: tuple[ExistingFolder, ...] = ()
    """Other releases, of each of which the device's models are tried alone: what a single model would do."""
    within: Amount = 0.0
    """Of estimates: how far from its label (Euclidean) one may lie and still be right."""
    questions: QuestionsTable = QuestionsTable()
    links: LinksTable = LinksTable()
    tiers: TiersTable = TiersTable()
    above: AboveTable = AboveTable()
    """Of the device: budgets, and what its radio takes per byte, as in its own settings."""
    engine: EngineTable = EngineTable()
    seed: Annotated[int, Meta(ge=0, le=1 << 62)] = 0
    """Of everything that chance decides: losses, jitter, resampling."""
    cache: AnyPath | None = None
    """Where predictions are kept, by model and data. Absent: in your cache folder."""
    name: Name | None = None
    """What pictures are titled with. Absent: the name of the task."""

    def tier(self, name: str) -> TierTable:
        table: TierTable = getattr(self.tiers, name)
        return table

    def link_to(self, tier: str) -> LinkTable:
        return self.links.fog if tier == TIERS[1] else self.links.cloud


def rooted(settings: Evaluation, was: Path, root: Path) -> Evaluation:
    """With the paths of [data] relative to another folder: where data lies differs from machine to machine."""
    data = settings.data
    moved = {
        field: root / value.relative_to(was)
        for field in data.__struct_fields__
        if isinstance(value := getattr(data, field), Path) and value.is_relative_to(was)
    }
    return msgspec.structs.replace(settings, data=msgspec.structs.replace(data, **moved))
