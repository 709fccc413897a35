"""How far long work is: one line that is written over itself, in a terminal. A pipe stays quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

DRAWN_EVERY_S = 0.1
FIRST_AFTER_S = 0.5
"""What is done sooner needs no line."""


class Progress:
    """Tell it often: it draws seldom."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._clock = clock
        self._live = self._out.isatty()
        self._doing = ""
        self._began_at = self._drawn_at = clock()
        self._shown = False

    def doing(self, what: str) -> Callable[[int, int], None]:
        """Begin something; what comes back is told how much of it is done."""
        self._doing, self._began_at = what, self._clock()
        return self._tell

    def _tell(self, done: int, of: int) -> None:
        if not self._live:
            return
        now = self._clock()
        if now - self._began_at < FIRST_AFTER_S or now - self._drawn_at < DRAWN_EVERY_S:
            return
        self._drawn_at, self._shown = now, True
        left_s = (now - self._began_at) / max(done, 1) * (of - done)
        self._out.write(f"\r\x1b[2K{self._doing}: {done:,} of {of:,}, {_said(left_s)} left")
        self._out.flush()

    def close(self) -> None:
        if self._shown:
            self._out.write("\r\x1b[2K")
            self._out.flush()
            self._shown = False


def _said(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90.0 else f"{seconds / 60.0:.0f} min"
