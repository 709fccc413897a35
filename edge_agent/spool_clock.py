"""How old a question on disk is, where nobody trusts the wall clock: milliseconds add up over restarts and reboots.

Within a boot the time since boot (which goes on in sleep) tells it exactly. Over a reboot the last checkpoint is all
that is known, and the time since this boot is added: how long the device was without power can't be counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Boot(NamedTuple):
    """Which boot this is, and for how long it has been going on."""

    id: str
    ms: float


class Checkpoint(NamedTuple):
    """What is written now and then: the spool's own time at a moment of some boot."""

    boot_id: str
    boot_ms: float
    spool_ms: float


def this_boot() -> Boot:
    return Boot(_boot_id(), time.clock_gettime(_CLOCK) * 1000.0)


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class SpoolClock:
    """The spool's own time in milliseconds: it never goes back, and only the age of things is read from it."""

    def __init__(self, boot: Callable[[], Boot] = this_boot) -> None:
        self._boot = boot
        self._started = boot()
        self._offset_ms = -self._started.ms

    def resume(self, checkpoint: Checkpoint | None, latest_ms: float) -> None:
        """Go on from what the file says; `latest_ms` is the youngest time in it, which may be after the checkpoint."""
        now = self._boot()
        spool_ms = max(latest_ms, self.now_ms())
        if checkpoint is None or not now.id:
            spool_ms = max(spool_ms, checkpoint.spool_ms if checkpoint is not None else 0.0)
        elif checkpoint.boot_id == now.id:
            spool_ms = max(spool_ms, checkpoint.spool_ms + max(0.0, now.ms - checkpoint.boot_ms))
        else:
            spool_ms = max(spool_ms, max(checkpoint.spool_ms, latest_ms) + now.ms)
        self._offset_ms = spool_ms - now.ms

    def now_ms(self) -> float:
        return self._boot_ms() + self._offset_ms

    def checkpoint(self) -> Checkpoint:
        boot_ms = self._boot_ms()
        return Checkpoint(self._started.id, boot_ms, boot_ms + self._offset_ms)

    def _boot_ms(self) -> float:
        return self._boot().ms
