"""Journals: what happened to a hop, with its times, on disk, to be replayed bit for bit. Here they are read.

A file is a row of records: length, CRC-32 (both little-endian, 32 bits), then msgpack of time, entry and the lengths of
payloads that were left out. The first record is a header with what is needed to build the hop again; its seed is why a
journal is only its owner's to read. `journal_writer` writes one file, and keeps the one before. Only a journal from the
beginning of a life (`whole`) and without gaps replays exactly: a later one begins in the middle, with its ladders.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import msgspec

from cascade.errors import StorageError
from cascade.inference.effects import Effect
from cascade.inference.events import Asked, Event, Evicted, LadderInstalled
from cascade.machine import Machine
from cascade.messages import Payload, Tensor, payload_digest
from cascade.release.ladder import Ladder

FORMAT = 1
FRAME = struct.Struct("<II")
MAX_RECORD_BYTES = 64 * 2**20


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header"):
    """Whose journal this is."""

    format: int
    version: str
    """Of the runtime: another one may decide otherwise."""
    node: str
    tier: str
    seed: bytes
    rebuild: dict[str, Any]
    """The hop's settings, in the words of the shell that built it."""
    life: str
    """Tells one run of the process from every other."""
    part: int
    """How many files of this life came before."""
    ladders: tuple[Ladder, ...] = ()
    """What those had installed, the present one of each task last."""


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """Here events are missing: the disk was full, or too slow."""

    lost: int


Entry: TypeAlias = Event | Header | Gap
Record: TypeAlias = tuple[float, Entry, tuple[int, ...]]

_decoder = msgspec.msgpack.Decoder(Record)


def framed(body: bytes) -> bytes:
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def previous(path: Path) -> Path:
    """Where the file before this one is kept."""
    return path.with_name(path.name + ".1")


def without_payload(event: Asked | Evicted) -> tuple[Asked | Evicted, tuple[int, ...]]:
    """The digest in place of the bytes, whose lengths stay: budgets depend on those, and no decision on more."""
    question = event.question
    mark = question.digest or payload_digest(question.payload)
    tensors = tuple([msgspec.structs.replace(tensor, data=mark) for tensor in question.payload])
    slim = msgspec.structs.replace(question, payload=tensors)
    return msgspec.structs.replace(event, question=slim), tuple([len(tensor.data) for tensor in question.payload])


def with_stand_in(event: Asked | Evicted, lengths: tuple[int, ...]) -> Asked | Evicted:
    """As long as what was left out, and made of its digest: equal where the payloads were equal."""
    payload: Payload = tuple(
        [_filled(tensor, length) for tensor, length in zip(event.question.payload, lengths, strict=True)]
    )
    return msgspec.structs.replace(event, question=msgspec.structs.replace(event.question, payload=payload))


def _filled(tensor: Tensor, length: int) -> Tensor:
    mark = tensor.data or b"\0"
    return msgspec.structs.replace(tensor, data=(mark * (length // len(mark) + 1))[:length])


class Ended(StrEnum):
    """Where reading stopped."""

    COMPLETE = "complete"
    TORN = "torn"
    """At a record that was not written whole, or was changed."""
    GAP = "gap"


class Journal:
    """The files of one life, in order. Iterate it once or often; what was met on the way is said by its attributes."""

    def __init__(self, path: Path, *, past_gaps: bool = False) -> None:
        self.past_gaps = past_gaps
        """Go on where events are missing: to look at what happened, never to replay it."""
        self.ended = Ended.COMPLETE
        self.left_bytes = 0
        """What was not read, behind the place where reading stopped."""
        self.lost = 0
        """Events that are missing from what was read."""
        self._parts = _parts_of(path)
        self.header = self._parts[0][1]

    @property
    def whole(self) -> bool:
        """It begins where the hop began."""
        return self.header.part == 0

    def __iter__(self) -> Iterator[tuple[float, Event]]:
        self.ended, self.left_bytes, self.lost = Ended.COMPLETE, 0, 0
        ladders = self.header.ladders
        for path, _ in self._parts:
            for now, entry, lengths in self._records(path):
                if isinstance(entry, Gap):
                    self.lost += entry.lost
                elif not isinstance(entry, Header):
                    yield from ((now, LadderInstalled(ladder)) for ladder in ladders)
                    ladders = ()
                    yield (
                        now,
                        with_stand_in(entry, lengths) if lengths and isinstance(entry, Asked | Evicted) else entry,
                    )

    def _records(self, path: Path) -> Iterator[Record]:
        """Those of one part, up to where it ends or reading stops; a part behind such a place is only measured."""
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                while self.ended is Ended.COMPLETE and (record := next_record(file, size)) is not None:
                    if isinstance(record[1], Gap) and not self.past_gaps:
                        self.ended, self.lost = Ended.GAP, record[1].lost
                    else:
                        yield record
                left = size - file.tell()
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        self.left_bytes += left
        if left and self.ended is Ended.COMPLETE:
            self.ended = Ended.TORN


def read_journal(path: Path | str, *, past_gaps: bool = False) -> Journal:
    """The journal at this path, with the part before it where there is one. `StorageError` for what is no journal."""
    return Journal(Path(path), past_gaps=past_gaps)


def replayed(
    machine: Machine[Event, Effect], journal: Iterable[tuple[float, Event]]
) -> Iterator[tuple[float, Event, list[Effect]]]:
    """Put it all through a machine again, which was built as the header says."""
    for now, event in journal:
        yield now, event, machine.handle(event, now)


def next_record(file: BinaryIO, size: int) -> Record | None:
    """The next one; or None at the end, and at whatever is not a record: then the file stands where that begins."""
    start = file.tell()
    record = _decoded(_body(file, size - start - FRAME.size))
    if record is None:
        file.seek(start)
    return record


def _body(file: BinaryIO, left: int) -> bytes:
    """Nothing where the frame is not right. Length 0 never is: a power cut leaves zeros, whose checksum is 0 too."""
    frame = file.read(FRAME.size)
    if len(frame) < FRAME.size:
        return b""
    length, checksum = FRAME.unpack(frame)
    if length > min(left, MAX_RECORD_BYTES):
        return b""
    body = file.read(length)
    return body if zlib.crc32(body) == checksum else b""


def _decoded(body: bytes) -> Record | None:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        record: Record = _decoder.decode(body)
        return record
    return None


def _parts_of(path: Path) -> list[tuple[Path, Header]]:
    now, before = _header_of(path), _header_of(previous(path))
    if now is not None and before is not None and (before.life, before.part + 1) == (now.life, now.part):
        return [(previous(path), before), (path, now)]
    if now is not None:
        return [(path, now)]
    if before is not None:  # The machine stopped in the very moment of changing files.
        return [(previous(path), before)]
    raise StorageError(f"{path}: not a journal that this version reads")


def _header_of(path: Path) -> Header | None:
    try:
        with path.open("rb") as file:
            record = next_record(file, path.stat().st_size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    header = record[1] if record is not None else None
    return header if isinstance(header, Header) and header.format == FORMAT else None
