"""The pump around a machine: one inbox, one thread, no timers while there is work.

Links, spools and sensors post events; each turn hands all of them to the machine, lets it tick once, and performs what
it wants. Between turns the loop looks at its sockets: what came meanwhile shares the next batch, the next message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from cascade.machine import Machine

Event = TypeVar("Event")
Effect = TypeVar("Effect")

TURNS_BEFORE_FLUSH = 4
"""However busy: nothing that waits to be sent with others waits longer than this many turns."""


class Drive(Generic[Event, Effect]):
    """Owns a machine. `perform` does its effects, `flush` sends what `perform` gathered to go in one message."""

    def __init__(
        self,
        machine: Machine[Event, Effect],
        ticked: Event,
        *,
        perform: Callable[[list[Effect]], None],
        flush: Callable[[], None],
        observe: Callable[[Event, list[Effect], float], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.machine = machine
        self.clock = clock
        self.progress_at = clock()
        """When the last turn was: what a watchdog should look at, not whether the process is there."""
        self._ticked = ticked
        self._perform, self._flush, self._observe = perform, flush, observe
        self._inbox: deque[Event] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._unflushed_turns = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def stop(self) -> None:
        """Do what is there to do without waiting, and no more after that."""
        if self._loop is None:
            return
        self._turn()
        self._flush()
        self._cancel_timer()
        self._loop = None

    def post(self, event: Event) -> None:
        """From the loop's own thread."""
        self._inbox.append(event)
        if not self._scheduled:
            self._schedule()

    def post_from_thread(self, event: Event) -> None:
        self.call_from_thread(lambda: self.post(event))

    def call_from_thread(self, happen: Callable[[], None]) -> None:
        """Dropped when the pump has stopped: then nobody is there to hear it."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(happen)
        except RuntimeError:
            self._loop = None  # The loop was closed under a thread that had something left to say.

    def _schedule(self) -> None:
        if self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._cancel_timer()
        inbox = self._inbox
        for _ in range(len(inbox)):
            self._take(inbox.popleft())
        wakes_at, now = self.machine.wakes_at, self.clock()
        if wakes_at is not None and wakes_at <= now:
            self._take(self._ticked)
            wakes_at = self.machine.wakes_at
        self.progress_at = now
        self._unflushed_turns += 1
        busy = bool(inbox) or (wakes_at is not None and wakes_at <= now)
        if not busy or self._unflushed_turns >= TURNS_BEFORE_FLUSH:
            self._unflushed_turns = 0
            self._flush()
        self._arrange_next_turn(busy or bool(inbox), wakes_at)

    def _arrange_next_turn(self, busy: bool, wakes_at: float | None) -> None:
        if busy:
            if not self._scheduled:
                self._schedule()
        elif wakes_at is not None and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, wakes_at - self.clock()), self._turn)

    def _take(self, event: Event) -> None:
        now = self.clock()
        effects = self.machine.handle(event, now)
        self._observe(event, effects, now)
        if effects:
            self._perform(effects)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
