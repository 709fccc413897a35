"""Recordings on disk: one .npz file, a JSON header beside the arrays, and nothing in it that is not bounded first.

    header            JSON, as bytes: `Header`
    label             int32 per sample; -1: not known
    input_bytes       int32 per sample
    <n>.<column>      the columns of stage n, and its `ran`, `ms`, `joules`, `cues`
    <n>.sent_bytes    int32 per sample, of a stage that sends hidden features: its message with these; 0: they don't go

Format 2, which also says to which segment below a stage goes back. Format 1 knew no such stages; it is read as well.

A reader believes no size that a file declares: each array's header is compared with what the archive holds of it, and
both with a limit, before anything is allocated. Pickled objects are never read.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np

from cascade.adapters.whole_file import write_whole
from cascade.inference.recording_mistakes import COLUMNS
from cascade.inference.recordings import Array, BadRecording, Recordings, StageRecord
from cascade.release.words import Count, Described, Name, Sha256, Tier

FORMAT = 2
READABLE = (1, 2)
MAX_FILE_BYTES = 1 << 30
MAX_ARRAYS = 1000
MAX_HEADER_BYTES = 1 << 20
_SHOWN = 8
_KINDS_OF_NUMBERS = "fiub"


class StageHeader(Described, frozen=True, kw_only=True):
    """A stage of the ladder."""

    tier: Tier
    name: Name
    kind: str
    labels: tuple[str, ...] = ()
    model: str = ""
    stage_digest: Sha256
    energy: str = "unknown"
    root: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")] = ""


class Header(Described, frozen=True, kw_only=True):
    """What the arrays are of."""

    format: int
    task: Name
    stages: Annotated[tuple[StageHeader, ...], msgspec.Meta(min_length=1, max_length=64)]
    label_names: tuple[str, ...] = ()
    max_input_bytes: Count
    source: str = ""
    notes: dict[str, str] = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(Header)


def write_recordings(path: Path, recordings: Recordings) -> str:
    """Atomically. Returns the digest of the file, which promises are bound to."""
    arrays: dict[str, Array] = {
        "label": recordings.label.astype(np.int32),
        "input_bytes": recordings.input_bytes.astype(np.int32),
    }
    for number, stage in enumerate(recordings.stages):
        if stage.calibrated:
            raise BadRecording("a recording holds what stages say before calibration")
        arrays |= {f"{number}.{name}": array for name, array in _arrays_of(stage).items()}
    arrays["header"] = np.frombuffer(msgspec.json.encode(_header(recordings)), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    raw = buffer.getvalue()
    write_whole(path, raw)
    return hashlib.sha256(raw).hexdigest()


def read_recordings(path: Path, max_bytes: int = MAX_FILE_BYTES) -> Recordings:
    """`BadRecording` for what is not one, is too large, or doesn't hold together."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            arrays = _read_arrays(file, max_bytes)
        return _assembled(arrays, digest)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise BadRecording(f"{path}: not a recording: {error}") from error
    except BadRecording as error:
        raise BadRecording(f"{path}: {error}") from error


def _arrays_of(stage: StageRecord) -> dict[str, Array]:
    parts = {**stage.columns, "ran": stage.ran, "ms": stage.ms.astype(np.float32), "joules": stage.joules}
    if stage.sent_bytes is not None:
        parts["sent_bytes"] = stage.sent_bytes.astype(np.int32)
    return parts if stage.cues is None else {**parts, "cues": stage.cues}


def _header(recordings: Recordings) -> Header:
    stages = tuple(
        StageHeader(
            tier=stage.tier,  # type: ignore[arg-type]  # one of the three: checked when recordings are made
            name=stage.name,
            kind=stage.kind,
            labels=stage.labels,
            model=stage.model,
            stage_digest=stage.stage_digest,
            energy=stage.energy,
            root=stage.root,
        )
        for stage in recordings.stages
    )
    return Header(
        format=FORMAT,
        task=recordings.task,
        stages=stages,
        label_names=recordings.label_names,
        max_input_bytes=recordings.max_input_bytes,
        source=recordings.source,
        notes=dict(recordings.notes),
    )


def _read_arrays(file: BinaryIO, max_bytes: int) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if total > max_bytes or len(entries) > MAX_ARRAYS:
            raise BadRecording(f"{len(entries)} arrays of {total} bytes; at most {MAX_ARRAYS} of {max_bytes} are read")
        names = [entry.filename.removesuffix(".npy") for entry in entries]
        if "header" not in names:
            raise BadRecording(
                f"no recording: it has the arrays {', '.join(names[:_SHOWN])} and no header. "
                "Samples are recorded first (cascade calibrate --record)"
            )
        return {name: _read_array(archive, entry) for name, entry in zip(names, entries, strict=True)}


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    """The archive stops at the size it declared, and that was counted; the array's own header must say the same."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise BadRecording(f"{entry.filename}: an array header of version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=10_000)
        wanted = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or dtype.kind not in _KINDS_OF_NUMBERS or fortran or wanted > entry.file_size:
            raise BadRecording(f"{entry.filename}: an array of {dtype} {shape} in {entry.file_size} bytes")
        raw = file.read(wanted)
    if len(raw) != wanted:
        raise BadRecording(f"{entry.filename}: ends early")
    return np.frombuffer(raw, dtype).reshape(shape)


def _assembled(arrays: Mapping[str, Array], digest: str) -> Recordings:
    raw = arrays["header"].tobytes()
    if len(raw) > MAX_HEADER_BYTES:
        raise BadRecording(f"a header of {len(raw)} bytes")
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any]).get("format")
        if found not in READABLE:
            raise BadRecording(f"format {found}; this version reads {' and '.join(map(str, READABLE))}")
        header = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecording(f"header: {error}") from error
    return Recordings(
        task=header.task,
        stages=tuple(_stage(number, stage, arrays) for number, stage in enumerate(header.stages)),
        label_names=header.label_names,
        label=_flat(arrays, "label", "i").astype(np.int64),
        input_bytes=_flat(arrays, "input_bytes", "i").astype(np.int64),
        max_input_bytes=header.max_input_bytes,
        digest=digest,
        source=header.source,
        notes=header.notes,
    )


def _stage(number: int, header: StageHeader, arrays: Mapping[str, Array]) -> StageRecord:
    if header.kind not in COLUMNS:
        raise BadRecording(f"stage {header.name}: no predictions of kind {header.kind!r}")
    return StageRecord(
        tier=header.tier,
        name=header.name,
        kind=header.kind,
        labels=header.labels,
        model=header.model,
        stage_digest=header.stage_digest,
        columns={name: arrays[f"{number}.{name}"] for name in COLUMNS[header.kind]},
        cues=arrays.get(f"{number}.cues"),
        ran=_flat(arrays, f"{number}.ran", "b"),
        ms=_flat(arrays, f"{number}.ms", "f"),
        joules=_flat(arrays, f"{number}.joules", "f"),
        energy=header.energy,
        root=header.root,
        sent_bytes=_flat(arrays, sent, "i").astype(np.int64) if (sent := f"{number}.sent_bytes") in arrays else None,
    )


def _flat(arrays: Mapping[str, Array], name: str, kind: str) -> Array:
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind != kind:
        raise BadRecording(f"{name}: {array.dtype} {array.shape}")
    return array
