"""The settings of an edge agent: what a person writes in its TOML file.

Keys and units are promises. A relative path is relative to the settings file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from cascade.adapters.link_settings import MqttAboveTable
from cascade.adapters.settings_tables import (
    MOST_KEEP_S,
    Amount,
    AuditTable,
    Bytes,
    Count,
    EngineTable,
    LimitsTable,
    LogTable,
    MetricsTable,
    Milliseconds,
    ModelTable,
    Name,
    NodeName,
    Seconds,
    Table,
    TaskTable,
)
from cascade.inference.events import Durability
from cascade.inference.triggers.spec import AnyTrigger
from cascade.messages import HIGHEST_PRIORITY, LOWEST_PRIORITY, USUAL_PRIORITY
from edge_agent.sensors.sensor_settings import SensorTable


class DeviceTable(Table, frozen=True, kw_only=True):
    """Who this device is."""

    name: NodeName
    """`<site>.<name>`, unique in the fleet, and the name in its certificate or of its MQTT user."""
    state_dir: Path = Path("/var/lib/cascade")
    """Where the spool, the models and the journal are kept. Made if it is not there."""


class WatchTable(Table, frozen=True, kw_only=True):
    """When a sample becomes a question. Counted in samples or their rows, but for times: docs/watching.md."""

    by: Literal["sample", "row"] = "sample"
    """What is counted: samples as the sensor gives them, or their rows (frames of sound), however many come at once."""
    window: Count = 1
    """How much is looked at together."""
    step: Count = 1
    """After how much that is new it is looked at again."""
    trigger: AnyTrigger | None = None
    """What hears each sample first, by its `kind`. Only while it is on there is anything to look at, or to ask."""
    hold: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    """For how much longer the trigger counts when it is off again. Absent: a window, where a model looks."""
    patience: Count = 1
    """How many such looks in a row must say so before there is a question."""
    smooth: Annotated[int, Meta(ge=1, le=1000)] = 1
    """The scores of the model that looks are averaged over so many looks."""
    once: bool = False
    """One question for each time that something comes, however long it stays."""
    cool_down_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """After a question, for how long there is no other."""
    pre_roll: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """How much from before the window is part of the question."""
    post_roll: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """How much from after the window is part of it: the question waits for that."""
    wake_task: Annotated[Name, Meta(extra={"names": "tasks"})] | None = None
    """The task whose first model here looks at each window: what its gate answers is something. Absent: all is."""
    wakes: Annotated[Name, Meta(extra={"names": "streams"})] | None = None
    """The stream whose sensor is on only while there is something here: a cheap sensor wakes an expensive one."""
    awake_s: Seconds = 10.0
    """For how long that sensor stays on after the last time."""


class StreamTable(Table, frozen=True, kw_only=True):
    """One source of samples, and what is asked of them."""

    name: Name
    """What programs that ask, answers and metrics call it."""
    task: Annotated[Name, Meta(extra={"names": "tasks"})]
    """One of `[[tasks]]`."""
    durability: Durability = Durability.BATCHED
    """What a crash can take: `memory` all that are open, `batched` the last commit window, `synced` nothing."""
    deadline_ms: Milliseconds = 1000.0
    """By then there is an answer, if only a provisional one."""
    priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = USUAL_PRIORITY
    """What is worth most is asked first and given up last."""
    keep_asking_s: Annotated[float, Meta(ge=0, le=MOST_KEEP_S)] = 0.0
    """For how long after the deadline a better answer from above is still wanted, as a correction."""
    worth_asking: Annotated[float, Meta(ge=0, lt=1)] | None = None
    """Ask above only where an answer by the deadline has at least this chance. Absent: as the release says."""
    provisional_at: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Share of the deadline at which the best guess is given, to be corrected. Absent: as the release says."""
    encoding: Literal["none", "zlib", "zstd"] = "zlib"
    """How payloads are compressed on their way up."""
    max_per_s: Amount = 0.0
    """Questions per second, at most; the others are refused and counted. 0: without limit."""
    answers: Literal["stdout", "mqtt", "asker"] = "stdout"
    """Where answers go: a line of JSON each, a topic of the broker, or back to the program that asked by the socket.
    The first two are best effort: a closed pipe, or a broker that is not there, takes no answer twice."""
    watch: WatchTable | None = None
    """Absent: every sample is a question."""
    sensor: SensorTable | None = None
    """Absent: samples come by the ask socket alone."""


class EdgeLimitsTable(LimitsTable, frozen=True, kw_only=True):
    """The limits of a device."""

    answers_explained: Annotated[int, Meta(ge=0, le=1_000_000)] = 1000
    """The last so many answers can be asked about (`cascade why`, `agent.explain`): about 2.5 kB of memory each."""


class SpoolTable(Table, frozen=True, kw_only=True):
    """Questions on disk: what a stream that is not `memory` can lean on."""

    max_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 50)] = 64 * 1024 * 1024
    """On disk. Over this, the least valuable questions are given up."""
    max_age_s: Seconds = 7 * 86_400.0
    """An older question is given up."""
    commit_every: Count = 512
    """Of `batched` streams: so many questions share one write that waits for the disk, and spare an SD card."""
    commit_within_s: Seconds = 0.05
    """And none waits longer than this for it: what a crash can take."""


MOST_SOCKET_PATH_BYTES = 107
"""Of the kernel."""


class AskSocketTable(Table, frozen=True, kw_only=True):
    """A Unix socket by which programs on this device ask."""

    path: Path
    """Where the socket is made: at most 107 bytes with its folder."""
    group: str = ""
    """The group that may open it, by name. Absent: that of the agent."""
    streams: tuple[Annotated[Name, Meta(extra={"names": "streams"})], ...] = ()
    """Which streams may be asked. Absent: those whose answers go to the asker."""
    allowed_users: tuple[str, ...] = ()
    """Users by name or number. Absent: everybody whom the file's mode lets in."""
    max_clients: Annotated[int, Meta(ge=1, le=10_000)] = 32
    """Programs that are connected at the same time."""
    max_per_s: Amount = 100.0
    """Questions of one client per second. 0: without limit."""
    max_bytes: Bytes = 256 * 1024
    """Of one question."""

    def mistakes(self) -> list[str]:
        wanted = socket_path_bytes(self.path)
        if wanted <= MOST_SOCKET_PATH_BYTES:
            return []
        return [f"path: found one of {wanted} bytes with its folder, expected at most {MOST_SOCKET_PATH_BYTES}"]


def socket_path_bytes(path: Path) -> int:
    """What a Unix socket there takes. It is made beside its place, under a name that is as long as these 17 bytes."""
    return max(len(os.fsencode(path)), len(os.fsencode(path.parent)) + 1 + 17)


class JournalTable(Table, frozen=True, kw_only=True):
    """A record of all that happened, from which every decision can be replayed. It holds no payloads."""

    path: Path
    """The file; the one before it is kept beside it, as `.1`."""
    max_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 50)] = 64 * 1024 * 1024
    """Of both files. When the first is overwritten, what came before can't be replayed any more."""


class EdgeSettings(Table, frozen=True, kw_only=True):
    """The whole file."""

    device: DeviceTable
    tasks: Annotated[tuple[TaskTable, ...], Meta(min_length=1)]
    streams: Annotated[tuple[StreamTable, ...], Meta(min_length=1)]
    above: MqttAboveTable | None = None
    """Absent: this device is alone, and answers what it can."""
    spool: SpoolTable = SpoolTable()
    ask_socket: AskSocketTable | None = None
    limits: EdgeLimitsTable = EdgeLimitsTable()
    engine: EngineTable = EngineTable()
    model: ModelTable = ModelTable()
    audit: AuditTable = AuditTable()
    metrics: MetricsTable = MetricsTable()
    log: LogTable = LogTable()
    journal: JournalTable | None = None

    def mistakes(self) -> list[str]:
        """What is wrong between tables, each of which is right."""
        return [
            f"streams[{index}].{mistake}"
            for index, stream in enumerate(self.streams)
            for mistake in self._stream_mistakes(stream)
        ]

    @property
    def asked_streams(self) -> tuple[str, ...]:
        """The streams that the ask socket serves."""
        if self.ask_socket is None:
            return ()
        return self.ask_socket.streams or tuple(stream.name for stream in self.streams if stream.answers == "asker")

    @property
    def silent_streams(self) -> list[str]:
        """Those that nobody but a program with the agent in it can ask: of a daemon, a mistake each."""
        return [
            f"streams[{index}].sensor: is missing, expected one, or the stream among those of [ask_socket]"
            for index, stream in enumerate(self.streams)
            if stream.sensor is None and stream.name not in self.asked_streams
        ]

    @property
    def _ever_on(self) -> set[str]:
        """Streams whose sensors are on from the beginning, or can be woken: those that wake each other can't."""
        wakes = {each.name: each.watch.wakes for each in self.streams if each.watch is not None and each.watch.wakes}
        on = {each.name for each in self.streams} - set(wakes.values())
        while woken := {wakes[name] for name in on & wakes.keys()} - on:
            on |= woken
        return on

    def _stream_mistakes(self, stream: StreamTable) -> list[str]:
        wrong = []
        by_socket = stream.name in self.asked_streams
        if stream.answers == "mqtt" and self.above is None:
            wrong.append('answers: found "mqtt", which wants a table [above]')
        if stream.answers == "asker" and not by_socket:
            wrong.append('answers: found "asker", which wants it among the streams of [ask_socket]')
        if stream.answers == "asker" and stream.sensor is not None:
            wrong.append('answers: found "asker", but it is a sensor that asks')
        woken = stream.watch.wakes if stream.watch is not None else None
        if woken is not None and (
            woken == stream.name or all(s.sensor is None for s in self.streams if s.name == woken)
        ):
            wrong.append(f'watch.wakes: found "{woken}", expected another stream, which has a sensor')
        elif woken is not None and stream.name not in self._ever_on:
            wrong.append(f'watch.wakes: found "{woken}", and nothing that is on by itself ever wakes "{stream.name}"')
        if stream.watch is not None and stream.sensor is None:
            wrong.append("watch: is there without a sensor, whose samples it would watch")
        return wrong
