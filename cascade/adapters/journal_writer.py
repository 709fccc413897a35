"""Writing a journal: the hop hands over events, a thread puts them on disk, and no disk can stop the hop.

`append` queues, nothing more: the thread encodes many events at a time, which takes a third of what each takes between
all else that a hop does. What the queue can't hold (the disk is full, gone, or too slow) is lost and
counted, and a `Gap` stands in its place, so that nobody replays across it. A write that fails is tried again at the
same offset: what a full disk took of a record is overwritten. Nothing is synced before `close`: a crash of the process
takes `flush_s` at most, a power cut what the system had not written. Both leave a torn tail, which readers stop at.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from cascade import __version__
from cascade.adapters.journal import FORMAT, Gap, Header, framed, previous, without_payload
from cascade.inference.events import Asked, Event, Evicted, LadderInstalled
from cascade.release.ladder import Ladder

log = logging.getLogger(__name__)

BATCH_BYTES = 64 * 1024
"""So much is written at a time."""
LEAST_BYTES = 64 * 1024
WITH_PAYLOAD = frozenset((Asked, Evicted))

WAKE_EVENTS = 256
YIELD_EVERY = 16
EVENT_BYTES = 512
"""About what an event takes in memory while it is queued, beside its payload."""

Queued: TypeAlias = tuple[float, Event | Gap, int]
"""When, what, and how much of the queue it takes."""
Encoded: TypeAlias = tuple[bytes, Ladder | None, int]


class JournalWriter:
    """One thread appends; any may look at `up`, `lost` and `trouble`. Takes `max_bytes` on disk, in two files."""

    def __init__(
        self,
        path: Path | str,
        *,
        node: str,
        tier: str,
        seed: bytes = b"",
        rebuild: dict[str, Any] | None = None,
        max_bytes: int = 64 * 2**20,
        payloads: bool = False,
        max_queued_bytes: int = 8 * 2**20,
        flush_s: float = 1.0,
        retry_s: float = 5.0,
    ) -> None:
        self.path = Path(path)
        self.lost = 0
        self.trouble = ""
        self._header = Header(
            format=FORMAT, version=__version__, node=node, tier=tier, seed=seed, rebuild=rebuild or {},
            life=os.urandom(8).hex(), part=-1,
        )  # fmt: skip
        self._file_bytes = max(LEAST_BYTES, max_bytes) // 2
        self._payloads = payloads
        self._max_queued = min(max_queued_bytes, self._file_bytes // 2)
        self._flush_s, self._retry_s = flush_s, retry_s
        self._encode = msgspec.msgpack.Encoder().encode
        self._encode(self._header)  # A mistake in `rebuild` is the caller's, and shows here.
        self._queue: deque[Queued] = deque()
        self._unwritten: list[Encoded] = []
        """What a write that failed has left: the thread's own."""
        self._queued_bytes = self._taken_bytes = 0
        """Each grows in one thread only, so neither needs a lock; what waits is the difference."""
        self._queued_events = 0
        self._missing = 0
        self._ladders: dict[tuple[str, str], Ladder] = {}
        self._fd: int | None = None
        self._size = 0
        self._retry_at = 0.0
        self._closing = False
        self._wake = threading.Event()
        self._written = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def up(self) -> bool:
        return not self.trouble

    def append(self, now: float, event: Event) -> None:
        """Note one event. Never blocks, never raises: what can't be noted is counted."""
        size = EVENT_BYTES
        if type(event) in WITH_PAYLOAD:
            size += event.question.payload_bytes  # type: ignore[union-attr]
        waiting = self._queued_bytes - self._taken_bytes + size
        if waiting > self._max_queued or self._closing:
            self._lose()
            return
        if self._missing:
            self._put((now, Gap(self._missing), EVENT_BYTES))
            self._missing = 0
        self._put((now, event, size))
        if (self._queued_events >= WAKE_EVENTS or waiting > self._max_queued // 4) and not self._wake.is_set():
            self._queued_events = 0
            self._wake.set()

    def _put(self, queued: Queued) -> None:
        self._queue.append(queued)
        self._queued_events += 1
        self._queued_bytes += queued[2]

    def _lose(self) -> None:
        self.lost += 1
        self._missing += 1

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until all that was appended is written; False where it can't be."""
        target = self._queued_bytes
        self._wake.set()
        with self._written:
            return self._written.wait_for(lambda: self._taken_bytes >= target, timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is there, if the disk lets us within this time."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    # The thread

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            self._write_queued()
        self._retry_at = 0.0
        self._write_queued()
        self.lost += len(self._queue) + len(self._unwritten)
        try:
            self._close_file(sync=True)
        except OSError as error:
            self._failed(error)

    def _write_queued(self) -> None:
        while (self._queue or self._unwritten) and time.monotonic() >= self._retry_at:
            batch = self._unwritten = self._unwritten or self._next_batch()
            try:
                self._write(batch)
            except (OSError, ValueError) as error:
                self._failed(error)
                return
            self._unwritten = []
            self._wrote(batch)

    def _next_batch(self) -> list[Encoded]:
        batch: list[Encoded] = []
        size = 0
        while self._queue and size < BATCH_BYTES:
            if len(batch) % YIELD_EVERY == 0:
                time.sleep(0)  # lets the hop's thread have the interpreter, which it would get after 5 ms otherwise
            encoded = self._encoded(*self._queue.popleft())
            size += len(encoded[0])
            batch.append(encoded)
        return batch

    def _encoded(self, now: float, event: Event | Gap, size: int) -> Encoded:
        """What can't be said, as text that isn't Unicode, is lost, and a gap says so in its place."""
        lengths: tuple[int, ...] = ()
        try:
            if isinstance(event, Asked | Evicted) and not self._payloads and event.question.payload:
                event, lengths = without_payload(event)
            body = self._encode((now, event, lengths))
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
            self.lost += 1
            return self._encode((now, Gap(1), ())), None, size
        return body, event.ladder if isinstance(event, LadderInstalled) else None, size

    def _write(self, batch: list[Encoded]) -> None:
        data = b"".join([framed(body) for body, _, _ in batch])
        if self._fd is None or self._size + len(data) > self._file_bytes:
            self._next_file()
        if not self._size:
            self._write_at_end(framed(self._encode((0.0, self._header, ()))))
        self._write_at_end(data)

    def _write_at_end(self, data: bytes) -> None:
        fd = self._fd
        assert fd is not None
        view, at = memoryview(data), self._size
        while view:
            written = os.pwrite(fd, view, at)
            view, at = view[written:], at + written
        self._size = at

    def _wrote(self, batch: list[Encoded]) -> None:
        if self.trouble:
            log.warning("journal %s: written again, %d events lost so far", self.path, self.lost)
            self.trouble = ""
        for _, ladder, size in batch:
            self._taken_bytes += size
            if ladder is not None:
                self._note(ladder)
        with self._written:
            self._written.notify_all()

    def _note(self, ladder: Ladder) -> None:
        """The present one of each task and the one before, as a hop holds them: the next file begins with them."""
        self._ladders.pop((ladder.task, ladder.release), None)
        self._ladders[ladder.task, ladder.release] = ladder
        of_task = [key for key in self._ladders if key[0] == ladder.task]
        for key in of_task[:-2]:
            del self._ladders[key]

    def _failed(self, error: Exception) -> None:
        if not self.trouble:
            log.warning("journal %s: not written, tried again every %g s: %s", self.path, self._retry_s, error)
        self.trouble = str(error)
        self._retry_at = time.monotonic() + self._retry_s

    def _next_file(self) -> None:
        """Begin a file; the present one becomes the one before, and that one goes."""
        mine = self._fd is not None
        self._close_file()
        if mine or self._is_free():
            os.replace(self.path, previous(self.path))
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._fd, self._size = fd, 0
        part = self._header.part + 1
        self._header = msgspec.structs.replace(self._header, part=part, ladders=tuple(self._ladders.values()))

    def _is_free(self) -> bool:
        """Whether there is a file of an earlier life. `BlockingIOError` where another process still writes it."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
        return True

    def _close_file(self, *, sync: bool = False) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
