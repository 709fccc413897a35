"""Tables of the settings that every tier has: metrics, log, engine, tasks, limits, model thread, audit.

The names are promises: they are what people write in their files. Units are in the names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from cascade.adapters.backends.backend import EngineSettings
from cascade.wire.limits import USUAL, Limits

Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z",
        description="a name of at most 64 letters, digits, - and _, that begins with a letter or digit",
    ),
]
NodeName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A(?=.{3,128}\Z)[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)+\Z",
        description="<site>.<name> of letters, digits, - and _, at most 128 characters",
    ),
]
Host: TypeAlias = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z0-9_.:%-]{1,253}\Z", description="a host name or an address"),
]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Amount: TypeAlias = Annotated[float, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=366 * 86_400)]
Milliseconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400_000)]
Bytes: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 50)]
ExistingFile: TypeAlias = Annotated[Path, Meta(extra={"path": "file"})]
ExistingFolder: TypeAlias = Annotated[Path, Meta(extra={"path": "folder"})]


MOST_KEEP_S = 366 * 86_400.0
MOST_QUESTION_BYTES = USUAL.max_message_bytes - 64 * 1024


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a settings file."""


class MetricsTable(Table, frozen=True, kw_only=True):
    """Where Prometheus reads this node's numbers."""

    bind: Host = "127.0.0.1"
    """The address to listen on. Metrics name streams and tasks: show them to a network only behind a proxy."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """0: no metrics over HTTP."""


class LogTable(Table, frozen=True, kw_only=True):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is less grave is not written."""
    format: Literal["text", "json"] = "text"
    """`json`: one object per line, for a collector."""


class EngineTable(Table, frozen=True, kw_only=True):
    """How models run."""

    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """Per model. One is best on a device that does other things as well."""
    providers: tuple[str, ...] = ()
    """onnxruntime: execution providers in the order of preference."""
    delegates: tuple[str, ...] = ()
    """tflite: shared libraries of delegates."""
    max_model_bytes: Bytes = 512 * 1024 * 1024
    """A larger model file is refused before it is opened."""

    def engine_settings(self) -> EngineSettings:
        return EngineSettings(self.threads, self.providers, self.delegates, self.max_model_bytes)


class TaskTable(Table, frozen=True, kw_only=True):
    """What is asked, and what answers it here."""

    name: Name
    """What its release says that it is for."""
    release: ExistingFolder
    """The folder of the release that this node begins with."""


class LimitsTable(Table, frozen=True, kw_only=True):
    """What this node takes on at most. What is over a limit is refused or shed, and counted."""

    max_open: Count = 4096
    """Questions that are in memory and not ended."""
    max_question_bytes: Annotated[int, Meta(ge=1024, le=MOST_QUESTION_BYTES)] = USUAL.max_question_bytes
    """One question: its payload where it is asked, the whole of it as it travels between hops. Raise it on all."""

    def wire_limits(self) -> Limits:
        return USUAL._replace(max_question_bytes=self.max_question_bytes)


class AnsweringLimitsTable(LimitsTable, frozen=True, kw_only=True):
    """The limits of a node that others ask."""

    answers_kept_s: Seconds = 600.0
    """For how long the answer to a question is repeated to whoever asks it again."""
    max_keep_s: Annotated[float, Meta(ge=0, le=MOST_KEEP_S)] = 3600.0
    """For how long after its deadline a question may wait here for a correction. The rest it waits where it was asked,
    and is asked again."""


class ModelTable(Table, frozen=True, kw_only=True):
    """Where models run."""

    thread: Literal["auto", "never", "always"] = "auto"
    """`never`: in line, cheapest for small models. `always`: in a thread beside. `auto`: by what the model takes."""


class AuditTable(Table, frozen=True, kw_only=True):
    """Asking above about what this node would have settled alone, to see whether both agree."""

    share: Share = 0.0
    """Of such questions, this share is asked all the same. 0.01 is usual; with 0 nothing is known of the agreement."""
    seed_file: ExistingFile | None = None
    """Bytes that make the choice of audits unforeseeable. Absent: made once, and kept in the state folder."""
