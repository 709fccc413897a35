"""A spool file that can't be used: moved aside, a new one begun, and what can still be read carried over."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cascade.adapters.whole_file import sync_folder
from cascade.errors import StorageError
from cascade.inference.effects import Keep
from edge_agent.spool_clock import SpoolClock
from edge_agent.spool_file import SpoolFile
from edge_agent.spool_rows import BrokenRow, restored, tag_of, unpack_answer, unpack_head, unpack_payload

log = logging.getLogger(__name__)
MOST_BROKEN_FILES = 2
"""Kept for whoever wants to look; older ones are removed, so that a dying disk is not filled with them."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def damaged(error: sqlite3.Error | OSError) -> bool:
    """Whether the file itself is at fault. Our own findings carry no code of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.DatabaseError) and (code is None or code & 0xFF in _DAMAGED)


def in_use(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _IN_USE


def opened(path: Path, max_bytes: int, clock: SpoolClock, *, distrusted: bool = False) -> SpoolFile:
    """The file, whole or begun anew. `sqlite3.Error` or `OSError` where the disk won't; `StorageError` if it is in use.

    `distrusted`: it opened before and turned out to be broken further in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if distrusted and path.exists():
            raise sqlite3.DatabaseError("found broken while it was used")
        file = SpoolFile(path, max_bytes)
    except sqlite3.Error as error:
        if in_use(error):
            raise StorageError(f"{path}: another agent has this spool open") from error
        if not damaged(error):
            raise
        return _begun_anew(path, max_bytes, clock, error)
    clock.resume(file.checkpoint, file.latest_ms)
    return file


def _begun_anew(path: Path, max_bytes: int, clock: SpoolClock, error: sqlite3.Error) -> SpoolFile:
    aside = _move_aside(path)
    file = SpoolFile(path, max_bytes)
    clock.resume(None, 0.0)
    try:
        carried = _carry_over(aside, file, clock)
    except BaseException:
        file.close()
        raise
    log.warning("the spool was broken (%s): moved to %s, %d questions carried over", error, aside.name, carried)
    return file


def _move_aside(path: Path) -> Path:
    numbers = sorted(_number(old) for old in path.parent.glob(f"{path.name}.broken-*") if old.suffix[8:].isdigit())
    for number in numbers[: max(0, len(numbers) - MOST_BROKEN_FILES + 1)]:
        for part in ("", "-wal"):
            path.with_name(f"{path.name}.broken-{number}{part}").unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.broken-{numbers[-1] + 1 if numbers else 1}")
    path.rename(aside)
    log_file = path.with_name(f"{path.name}-wal")
    if log_file.exists():
        log_file.rename(aside.with_name(f"{aside.name}-wal"))
    sync_folder(path.parent)
    return aside


def _number(old: Path) -> int:
    return int(old.suffix[8:])


def _carry_over(aside: Path, file: SpoolFile, clock: SpoolClock) -> int:
    """Each row that passes its checksum; it counts as kept now, since its time on disk can't be known."""
    new, answers = dict[int, Keep](), {}
    checkpoint = clock.checkpoint()
    for head, answer, payload in _readable(aside):
        try:
            said = unpack_head(head)
            row = restored(said, unpack_payload(payload) if answer is None else (), None, 0.0)
            tag = tag_of(row.question.key)
            if answer is not None:
                answers[tag] = unpack_answer(answer)
        except BrokenRow:
            continue
        new[tag] = Keep(row.question, row.back, said.sync)
        if len(new) >= 256:
            file.write(new.items(), answers.items(), (), checkpoint, save_checkpoint=True, promises=False)
            new.clear()
            answers.clear()
    file.write(new.items(), answers.items(), (), checkpoint, save_checkpoint=True, promises=True)
    return file.sizes.depth


def _readable(aside: Path) -> Iterator[tuple[object, object, object]]:
    """From both ends: a bad page in the middle costs what is on it, not what is behind it."""
    seen: set[int] = set()
    try:
        with closing(sqlite3.connect(aside, timeout=0.1, isolation_level=None)) as broken:
            broken.execute("PRAGMA locking_mode=EXCLUSIVE")
            for order in ("ASC", "DESC"):
                yield from _rows(broken, order, seen)
    except sqlite3.Error as error:
        log.info("nothing can be read in %s: %s", aside.name, error)


def _rows(broken: sqlite3.Connection, order: str, seen: set[int]) -> Iterator[tuple[object, object, object]]:
    try:
        for place, head, answer, payload in broken.execute(
            f"SELECT place, head, answer, payload FROM words ORDER BY place {order}"
        ):
            if place in seen:
                return
            seen.add(place)
            yield head, answer, payload
    except sqlite3.Error as error:
        log.info("read as far as %d rows: %s", len(seen), error)
