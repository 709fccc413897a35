"""The spool's file: a queue of questions in SQLite, most valuable first.

One writer, which holds the file alone (so no shared-memory file, and a second agent is noticed at once). The
write-ahead log is synced at each commit that somebody builds on: measured over 150 power cuts, `FULL` lost nothing and
`NORMAL` lost rows that had been promised. What is over the bounds goes out in the transaction that brought the new in.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from cascade.adapters.whole_file import sync_folder
from cascade.inference.effects import Keep
from cascade.messages import HIGHEST_PRIORITY, LOWEST_PRIORITY, Answer, Question
from edge_agent.spool_clock import Checkpoint
from edge_agent.spool_rows import (
    PAGE_BYTES,
    PLACES_OF_A_PRIORITY,
    SCHEMA,
    BrokenRow,
    Head,
    Restored,
    disk_bytes,
    first_place,
    pack_answer,
    pack_head,
    pack_payload,
    place_of,
    restored,
    sequence_of,
    tag_of,
    unpack_answer,
    unpack_head,
    unpack_payload,
)

_TABLES = """
CREATE TABLE queue (
    place INTEGER PRIMARY KEY, tag INTEGER NOT NULL, kept_ms REAL NOT NULL, born_ms REAL NOT NULL,
    bytes INTEGER NOT NULL, answered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE words (place INTEGER PRIMARY KEY, head BLOB NOT NULL, answer BLOB, payload BLOB) STRICT;
CREATE TABLE clock (
    one INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, boot_ms REAL NOT NULL, spool_ms REAL NOT NULL
) STRICT;
"""
_INDEX = """
SELECT place, CAST(tag AS INTEGER), coalesce(CAST(kept_ms AS REAL), 0), coalesce(CAST(bytes AS INTEGER), 0) FROM queue
"""
_IN_ORDER = "SELECT place, tag, coalesce(CAST(kept_ms AS REAL), 0) FROM queue ORDER BY place"
_PRIORITIES = range(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1)
_LAST_PLACE = first_place(LOWEST_PRIORITY) + PLACES_OF_A_PRIORITY
_LAST_SEQUENCE = PLACES_OF_A_PRIORITY // 2
_SPARE_PAGES = 256
"""Free pages that the file keeps for reuse before it gives them back to the disk."""
_MOST_GIVEN_BACK = 4096
"""Pages at a time: each may mean that another one is moved."""


class Gone(NamedTuple):
    """A question that was given up, without its payload."""

    tag: int
    question: Question
    back: str
    answered: bool


class Sizes(NamedTuple):
    """What is in the file."""

    depth: int
    bytes: int


class SpoolFile:
    """Every method may raise `sqlite3.Error`. What is in memory is then wrong: close it, and open it again later."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.places: dict[int, int] = {}
        self.broken_rows = 0
        self._bytes = 0
        self._sequence = 0
        self._full_sync: bool | None = None
        self.latest_ms = 0.0
        self._db = _connected(path)
        try:
            self.checkpoint = self._prepare(path)
            self._inode = path.stat().st_ino
        except BaseException:
            self._db.close()
            raise

    @property
    def sizes(self) -> Sizes:
        return Sizes(len(self.places), self._bytes)

    def is_at(self, path: Path) -> bool:
        """False where the file was removed or replaced under us: SQLite would go on writing to nowhere."""
        try:
            return path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        self._db.close()

    def write(
        self,
        new: Iterable[tuple[int, Keep]],
        answers: Iterable[tuple[int, Answer]],
        gone: Iterable[int],
        checkpoint: Checkpoint,
        *,
        save_checkpoint: bool,
        promises: bool,
    ) -> list[Gone]:
        """One transaction. Returns what was given up to stay within the bounds, which may be among the new."""
        self._sync(promises)
        self._db.execute("BEGIN IMMEDIATE")
        self._delete(gone)
        self._insert(new, checkpoint.spool_ms)
        for tag, answer in answers:
            self._record(self.places[tag], answer)
        evicted = self._shrink()
        if save_checkpoint:
            self._db.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)", checkpoint)
        self._db.execute("COMMIT")
        return evicted

    def too_old(self, before_ms: float) -> list[Gone]:
        """Give up what was born before. Within a priority the oldest stands first."""
        places: list[int] = []
        for priority in _PRIORITIES:
            places += [place for place, _ in takewhile(lambda row: row[1] < before_ms, self._of(priority))]
        if not places:
            return []
        self._sync(False)
        self._db.execute("BEGIN IMMEDIATE")
        evicted = [gone for place in places for gone in self._evict(place)]
        self._db.execute("COMMIT")
        return evicted

    def oldest_born_ms(self) -> float | None:
        firsts = (next(self._of(priority), None) for priority in _PRIORITIES)
        return min((first[1] for first in firsts if first is not None), default=None)

    def load(
        self, most: int, most_bytes: int, held: Iterable[int], now_ms: float
    ) -> tuple[list[tuple[int, Restored]], list[int]]:
        """The most valuable that are not held, and the tags of rows that can't be read."""
        skip, loaded, broken = set(held), list[tuple[int, Restored]](), list[int]()
        for place, tag, kept_ms in self._db.execute(_IN_ORDER):
            if len(loaded) >= most or most_bytes <= 0:
                break
            if tag in skip:
                continue
            try:
                row = self._read(place, now_ms - kept_ms)
            except BrokenRow:
                broken.append(tag)
                continue
            loaded.append((tag, row))
            most_bytes -= row.question.payload_bytes
        self.broken_rows += len(broken)
        return loaded, broken

    def give_back(self) -> None:
        """Return free pages to the disk, beyond some that are kept for the next questions."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free > 2 * _SPARE_PAGES:
            # By `execute` Python takes one step of this pragma, and one page is given back.
            self._db.executescript(f"PRAGMA incremental_vacuum({min(free - _SPARE_PAGES, _MOST_GIVEN_BACK)});")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _prepare(self, path: Path) -> Checkpoint | None:
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "trusted_schema=OFF", "cell_size_check=ON"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("PRAGMA journal_size_limit=4194304").fetchall()
        (schema,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables and not schema:
            self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={SCHEMA}; COMMIT;")
            sync_folder(path.parent)
        elif schema != SCHEMA:
            raise sqlite3.DatabaseError(f"schema {schema}; this version reads schema {SCHEMA}")
        self._index()
        row = self._db.execute("SELECT boot_id, boot_ms, spool_ms FROM clock").fetchone()
        return Checkpoint(*row) if row is not None else None

    def _index(self) -> None:
        """Reads the small table alone: payloads are looked at when they are needed."""
        for place, tag, kept_ms, size in self._db.execute(_INDEX):
            if not 0 < sequence_of(place) < _LAST_SEQUENCE or not 0 <= place < _LAST_PLACE:
                raise sqlite3.DatabaseError("a place that was never given")
            self.places[tag] = place
            self._bytes += size
            self._sequence = max(self._sequence, sequence_of(place))
            self.latest_ms = max(self.latest_ms, kept_ms)

    def _sync(self, full: bool) -> None:
        if full is not self._full_sync:
            self._db.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}").fetchall()
            self._full_sync = full

    def _insert(self, new: Iterable[tuple[int, Keep]], now_ms: float) -> None:
        queue, words = [], []
        for tag, keep in new:
            question = keep.question
            self._sequence += 1
            place = self.places[tag] = place_of(question.priority, self._sequence)
            head, payload = pack_head(question, keep.back, keep.sync), pack_payload(question.payload)
            size = disk_bytes(len(head) + len(payload))
            self._bytes += size
            queue.append((place, tag, now_ms, now_ms - question.age_ms, size))
            words.append((place, head, payload))
        self._db.executemany("INSERT INTO queue VALUES (?, ?, ?, ?, ?, 0)", queue)
        self._db.executemany("INSERT OR REPLACE INTO words VALUES (?, ?, NULL, ?)", words)

    def _record(self, place: int, answer: Answer) -> None:
        """The payload is not needed any more: nobody will be asked again."""
        raw = pack_answer(answer)
        self._db.execute("UPDATE words SET answer = ?, payload = NULL WHERE place = ?", (raw, place))
        (head_bytes,) = self._one("SELECT coalesce(length(head), 0) FROM words WHERE place = ?", place)
        (bytes_before,) = self._one("SELECT coalesce(CAST(bytes AS INTEGER), 0) FROM queue WHERE place = ?", place)
        size = disk_bytes(head_bytes + len(raw))
        self._db.execute("UPDATE queue SET answered = 1, bytes = ? WHERE place = ?", (size, place))
        self._bytes += size - bytes_before

    def _delete(self, tags: Iterable[int]) -> None:
        for tag in tags:
            place = self.places.pop(tag, None)
            if place is not None:
                self._remove(place)

    def _remove(self, place: int) -> None:
        (size,) = self._one("SELECT coalesce(CAST(bytes AS INTEGER), 0) FROM queue WHERE place = ?", place)
        self._bytes -= size
        self._db.execute("DELETE FROM queue WHERE place = ?", (place,))
        self._db.execute("DELETE FROM words WHERE place = ?", (place,))

    def _shrink(self) -> list[Gone]:
        """The least valuable first: the lowest priority, in it the oldest. What has its answer goes last."""
        evicted: list[Gone] = []
        for answered in (0, 1):
            for priority in _PRIORITIES:
                while self._over() and (places := self._first_of(priority, answered)):
                    for place in places:
                        if self._over():
                            evicted += self._evict(place)
        return evicted

    def _over(self) -> bool:
        return self._bytes > self._max_bytes

    def _first_of(self, priority: int, answered: int) -> list[int]:
        begin = first_place(priority)
        return [
            place
            for (place,) in self._db.execute(
                "SELECT place FROM queue WHERE place >= ? AND place < ? AND answered = ? ORDER BY place LIMIT 32",
                (begin, begin + PLACES_OF_A_PRIORITY, answered),
            )
        ]

    def _of(self, priority: int) -> Iterator[tuple[int, float]]:
        begin = first_place(priority)
        yield from self._db.execute(
            "SELECT place, coalesce(CAST(born_ms AS REAL), 0) FROM queue WHERE place >= ? AND place < ? ORDER BY place",
            (begin, begin + PLACES_OF_A_PRIORITY),
        )

    def _evict(self, place: int) -> list[Gone]:
        tag, answered = self._one("SELECT tag, answered FROM queue WHERE place = ?", place)
        row = self._db.execute("SELECT head FROM words WHERE place = ?", (place,)).fetchone()
        self._remove(place)
        self.places.pop(tag, None)
        try:
            said: Head = unpack_head(row and row[0])
        except BrokenRow:
            self.broken_rows += 1
            return []
        return [Gone(tag, said.question, said.back, bool(answered))]

    def _read(self, place: int, elapsed_ms: float) -> Restored:
        row = self._db.execute("SELECT head, answer, payload FROM words WHERE place = ?", (place,)).fetchone()
        head, answer, payload = row if row is not None else (None, None, None)
        said = unpack_head(head)
        if self.places.get(tag_of(said.question.key)) != place:
            raise BrokenRow("another row's words")
        if answer is not None:
            return restored(said, (), unpack_answer(answer), elapsed_ms)
        return restored(said, unpack_payload(payload), None, elapsed_ms)

    def _one(self, select: str, place: int) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._db.execute(select, (place,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("a row that was there is gone")
        return row


def _connected(path: Path) -> sqlite3.Connection:
    """The file is for its owner alone: it holds what microphones and cameras took."""
    new = not path.exists() or not path.stat().st_size
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, cached_statements=64)
    if new:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    return connection
