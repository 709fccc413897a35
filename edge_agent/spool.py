"""The device's durable outbox: questions that no crash or power cut may take, on disk until their answer is given.

What it promises: a question reported `Kept(durable=True)` is there after any crash, until it is forgotten or given up
(`Evicted`, told). When the disk is full or failing it goes on, says `Kept(durable=False)`, and is durable again by
itself about `RETRY_S` after the disk is. Bounds: `max_bytes` on disk (and a write-ahead log of some MiB beside it), and
about 110 bytes of memory per row. Its inbox holds at most `MOST_INBOX_BYTES` of questions that are not written yet:
beyond that a question is told `Kept(durable=False)` at once, and lives in the hop's memory alone.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import NamedTuple

from cascade.errors import StorageError
from cascade.inference.effects import Keep, Park, Remember
from cascade.inference.events import Event, Evicted, Kept, Remembered
from cascade.messages import Answer, Key, Question
from edge_agent.spool_clock import Boot, SpoolClock, this_boot
from edge_agent.spool_file import Gone, SpoolFile
from edge_agent.spool_group import Forget, Group, Load, Order
from edge_agent.spool_inbox import Inbox
from edge_agent.spool_recovery import damaged, opened
from edge_agent.spool_rows import Restored

log = logging.getLogger(__name__)
MOST_INBOX_BYTES = 8 * 1024 * 1024
MOST_INBOX_ORDERS = 8192
MOST_LOADED_BYTES = 4 * 1024 * 1024
RETRY_S = 1.0
TIDY_S = 5.0
"""How often age, free pages and readings are looked after."""
CHECKPOINT_S = 60.0
EARLY_CHECKPOINT_S = 10.0
"""A checkpoint rides along with a commit that is made anyway, when the last one is older than this."""


class SpoolReadings(NamedTuple):
    """What the metrics show. Replaced as a whole by the spool's thread; any thread may read it."""

    depth: int = 0
    bytes: int = 0
    waiting: int = 0
    """On disk alone, to be loaded when there is room."""
    oldest_age_s: float = 0.0
    evicted: int = 0
    broken_rows: int = 0
    not_kept: int = 0
    """Questions that asked for a place on disk and got none."""
    durable: bool = False


class Spool:
    """Orders may come from any thread. `post` is called on the spool's thread; for a refused `keep` on the caller's."""

    def __init__(
        self,
        path: Path,
        post: Callable[[Event], None],
        *,
        max_bytes: int,
        max_age_s: float,
        commit_every: int = 512,
        commit_within_s: float = 0.05,
        boot: Callable[[], Boot] = this_boot,
    ) -> None:
        self.readings = SpoolReadings()
        self._path = path
        self._post = post
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_s * 1000.0
        self._inbox = Inbox(commit_every, commit_within_s, MOST_INBOX_BYTES, MOST_INBOX_ORDERS)
        self._clock = SpoolClock(boot)
        self._file: SpoolFile | None = None
        self._known: dict[int, int] = {}
        """What is in the file, or was when it could last be used."""
        self._held: dict[int, Key] = {}
        """What is in the hop's memory as well."""
        self._distrusted = False
        self._doomed: set[int] = set()
        """Rows that were given up while the disk failed: they go as soon as it lets them."""
        self._thread = Thread(target=self._run, name="spool", daemon=True)
        self._started = Flag()
        self._refusal: StorageError | None = None
        self._retry_at = self._tidy_at = 0.0
        self._checkpoint_at = -CHECKPOINT_S
        self._evicted = self._broken_rows = self._not_kept = self._refused = 0
        self._oldest_age_s = 0.0

    def open(self) -> None:
        """Start. Raises `StorageError` only where another agent has the file; a bad disk or file is lived with."""
        self._thread.start()
        self._started.wait()
        if self._refusal is not None:
            raise self._refusal

    def keep(self, question: Question, back: str, sync: bool) -> None:
        """Write a question. Answered by `Kept`."""
        order = Keep(question, back, sync)
        if not self._inbox.put(order, size_bytes=question.payload_bytes + 512, urgent=sync, refusable=True):
            self._refused += 1
            self._post(Kept(question.key, durable=False))

    def remember(self, key: Key, answer: Answer) -> None:
        """Record the final answer in place of the payload. Answered by `Remembered`, whatever the disk says."""
        if not self._inbox.put(Remember(key, answer), urgent=True):
            self._post(Remembered(key))

    def forget(self, key: Key) -> None:
        """The answer was handed over: the row may go. It may come back by a power cut in the next seconds."""
        self._inbox.put(Forget(key))

    def park(self, key: Key) -> None:
        """The hop no longer has it in memory: it may be loaded again."""
        self._inbox.put(Park(key))

    def load(self, most: int, take: Callable[[list[Restored]], None]) -> None:
        """Hand `take` the most valuable rows that the hop doesn't have: once, on the spool's thread, perhaps none."""
        if not self._inbox.put(Load(most, MOST_LOADED_BYTES, take)):
            take([])

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what is waiting, and stop. False where a disk that hangs was left to itself."""
        self._inbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._reopen()
        except StorageError as error:
            self._refusal = error
            self._inbox.close()
            return
        finally:
            self._started.set()
        try:
            while (orders := self._inbox.take(self._wait_s())) is not None:
                self._perform(orders)
            self._tidy(closing=True)
        finally:
            # A bug ends this thread loudly; the agent then goes on without a disk, and says so.
            self._inbox.close()
            self._refuse_the_rest()
            self._close_file()

    def _wait_s(self) -> float:
        return max(0.0, (self._tidy_at if self._file is not None else self._retry_at) - monotonic())

    def _perform(self, orders: list[Order]) -> None:
        if self._file is None and monotonic() >= self._retry_at:
            self._reopen()
        if self._file is not None:
            self._known = self._file.places
        group = Group(orders, self._known)
        evicted = self._written(group)
        self._tell(group, evicted)
        for order in group.loads:
            order.take(self._loaded(order))
        if monotonic() >= self._tidy_at:
            self._tidy()
        self._show()

    def _written(self, group: Group) -> list[Gone] | None:
        """What was given up for it; None where the disk did not take it."""
        file = self._file
        if file is None:
            self._doomed |= group.gone
            return None
        if not group.writes and not self._doomed:
            return []
        now, gone = monotonic(), group.gone | self._doomed
        save = now - self._checkpoint_at >= EARLY_CHECKPOINT_S
        try:
            evicted = file.write(
                group.new.items(),
                group.answers.items(),
                gone,
                self._clock.checkpoint(),
                save_checkpoint=save,
                promises=group.promises,
            )
        except sqlite3.Error as error:
            self._failed(error, gone | group.new.keys())
            return None
        self._doomed.clear()
        self._checkpoint_at = now if save else self._checkpoint_at
        return evicted

    def _tell(self, group: Group, evicted: list[Gone] | None) -> None:
        never_written = {one.tag for one in evicted or () if one.tag in group.new}
        for tag in group.released:
            self._held.pop(tag, None)
        for tag, key in group.keeps:
            durable = tag not in never_written and (evicted is not None or tag not in group.new)
            if durable and tag not in group.released:
                self._held[tag] = key
            self._not_kept += not durable
            if tag not in group.released:  # whoever was answered meanwhile has nothing to hear
                self._post(Kept(key, durable))
        for key in group.remembers:
            self._post(Remembered(key))
        self._give_up([one for one in evicted or () if one.tag not in never_written], "spool_full")

    def _give_up(self, evicted: list[Gone], reason: str) -> None:
        self._evicted += len(evicted)
        for one in evicted:
            held = self._held.pop(one.tag, None)
            if held is None or not one.answered:  # An answer that is just being given needs no second ending.
                self._post(Evicted(one.question, one.back, reason))

    def _loaded(self, order: Load) -> list[Restored]:
        file = self._file
        if file is None or len(file.places) <= len(self._held):
            return []
        try:
            rows, broken = file.load(
                order.most, order.most_bytes, self._held.keys() | self._doomed, self._clock.now_ms()
            )
        except sqlite3.Error as error:
            self._failed(error, set())
            return []
        self._doomed |= set(broken)
        self._held.update((tag, row.question.key) for tag, row in rows)
        return [row for _, row in rows]

    def _tidy(self, *, closing: bool = False) -> None:
        now = monotonic()
        self._tidy_at = now + TIDY_S
        if self._file is None:
            return
        in_use = bool(self._file.places)  # an empty spool writes nothing
        try:
            self._tidy_file(self._file, in_use and (closing or now - self._checkpoint_at >= CHECKPOINT_S))
        except sqlite3.Error as error:
            self._failed(error, set())

    def _tidy_file(self, file: SpoolFile, save_checkpoint: bool) -> None:
        if not file.is_at(self._path):
            raise sqlite3.DatabaseError("the file was taken away")
        now_ms = self._clock.now_ms()
        self._give_up(file.too_old(now_ms - self._max_age_ms), "too_old")
        if save_checkpoint or self._doomed:
            file.write((), (), self._doomed, self._clock.checkpoint(), save_checkpoint=True, promises=False)
            self._doomed.clear()
            self._checkpoint_at = monotonic()
        file.give_back()
        oldest_ms = file.oldest_born_ms()
        self._oldest_age_s = 0.0 if oldest_ms is None else max(0.0, now_ms - oldest_ms) / 1000.0

    def _reopen(self) -> None:
        """Open, and prove by writing that it is durable."""
        self._retry_at = monotonic() + RETRY_S
        try:
            self._file = opened(self._path, self._max_bytes, self._clock, distrusted=self._distrusted)
            self._file.write((), (), (), self._clock.checkpoint(), save_checkpoint=True, promises=True)
        except (sqlite3.Error, OSError) as error:
            self._failed(error, set())
            return
        if self._distrusted or not self.readings.durable:
            log.info("the spool is durable: %s", self._path)
        self._distrusted = False
        self._checkpoint_at = monotonic()
        self._doomed &= self._file.places.keys()
        for tag, key in [(tag, key) for tag, key in self._held.items() if tag not in self._file.places]:
            del self._held[tag]
            self._post(Kept(key, durable=False))
        self._show()

    def _failed(self, error: sqlite3.Error | OSError, unwanted: set[int]) -> None:
        """After a failed write nobody knows what reached the disk: close, and read it again when it works."""
        if self.readings.durable or not self._started.is_set():
            log.warning("the spool is not durable: %s: %s", self._path, error)
        self._doomed |= unwanted
        self._close_file()
        broken = damaged(error)
        self._retry_at = monotonic() + (0.0 if broken and not self._distrusted else RETRY_S)
        self._distrusted = self._distrusted or broken
        self._show()

    def _close_file(self) -> None:
        if self._file is None:
            return
        self._broken_rows += self._file.broken_rows
        try:
            self._file.close()
        except sqlite3.Error as error:
            log.info("while closing the spool: %s", error)
        self._file = None

    def _refuse_the_rest(self) -> None:
        while orders := self._inbox.take(0.0):
            group = Group(orders, ())
            self._tell(group, None)
            for order in group.loads:
                order.take([])

    def _show(self) -> None:
        file = self._file
        depth, size = file.sizes if file is not None else (self.readings.depth, self.readings.bytes)
        self.readings = SpoolReadings(
            depth=depth,
            bytes=size,
            waiting=max(0, depth - len(self._held)),
            oldest_age_s=self._oldest_age_s,
            evicted=self._evicted,
            broken_rows=self._broken_rows + (file.broken_rows if file is not None else 0),
            not_kept=self._not_kept + self._refused,
            durable=file is not None,
        )


__all__ = ["Restored", "Spool", "SpoolReadings"]
