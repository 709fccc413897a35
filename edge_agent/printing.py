"""Answers on standard output, a line of JSON each, by a thread of its own: a reader that stops reading stops nobody."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from queue import Full, Queue
from threading import Thread
from typing import BinaryIO

from cascade.adapters.answer_json import answer_line
from cascade.messages import Answer

log = logging.getLogger(__name__)
MOST_UNREAD = 1024
"""Answers that wait for the reader; sensors are held back at half of it."""


class Printer:
    """Its thread begins with the first answer. `printed` is called there, when a line has left this process."""

    def __init__(self, out: BinaryIO | None, printed: Callable[[Answer], None]) -> None:
        self._out = out
        self._printed = printed
        self._waiting: Queue[Answer | None] = Queue(MOST_UNREAD)
        self._thread: Thread | None = None
        self._gone = False
        self._told = False

    def print(self, answer: Answer) -> bool:
        """False where there is no reader, or one that is too far behind: then it is not printed."""
        if self._gone:
            return False
        if self._thread is None:
            self._thread = Thread(target=self._print_all, name="answers", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(answer)
        except Full:
            if not self._told:
                self._told = True
                log.warning("nobody reads standard output: %d answers wait, the others are not printed", MOST_UNREAD)
            return False
        return True

    @property
    def crowded(self) -> bool:
        return 2 * self._waiting.qsize() >= MOST_UNREAD

    @property
    def finished(self) -> bool:
        """Nothing waits that could still be read."""
        return self._gone or self._waiting.unfinished_tasks == 0

    def close(self, within_s: float = 2.0) -> None:
        """Print what waits, if somebody reads it within this time."""
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=within_s)
        except Full:
            return
        self._thread.join(within_s)

    def _print_all(self) -> None:
        while (answer := self._waiting.get()) is not None:
            try:
                self._write(answer_line(answer))
            except (OSError, ValueError) as error:
                self._gone = True
                log.warning("standard output is gone, answers are not printed any more: %s", error)
                return
            self._told = False
            self._waiting.task_done()
            self._printed(answer)

    def _write(self, line: bytes) -> None:
        if self._out is None:
            sys.stdout.write(line.decode())  # a notebook's has no bytes beneath it
            sys.stdout.flush()
        else:
            self._out.write(line)
            self._out.flush()
