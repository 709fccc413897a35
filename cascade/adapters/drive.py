"""The pump around a machine: one inbox, one thread, no timers while there is work.

Links, spools and sensors post events; each turn hands all of them to the machine, lets it tick once, and performs what
it wants. Between turns the loop looks at its sockets: what came meanwhile shares the next batch, the next message.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from cascade.machine import Machine

Event = TypeVar("Event")
Effect = TypeVar("Effect")

log = logging.getLogger(__name__)

PASSES_A_TURN = 2
"""What a model said in line is dealt with in the same turn: a look at the sockets in between would cost more."""

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
        self.broken: Exception | None = None
        """What a turn raised: a bug, after which nothing is handled any more."""
        self._ended = asyncio.Event()
        self._due_at = math.inf
        self._ticked = ticked
        self._perform, self._flush, self._observe = perform, flush, observe
        self._inbox: deque[Event] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._over = False
        self._unflushed_turns = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def idle_s(self) -> float:
        """For how long something has been due and not done, from any thread: what a watchdog should look at.

        It reads one number that a turn has left, and never the machine: that belongs to the thread of the loop.
        """
        return max(0.0, self.clock() - self._due_at)

    async def until(self, told: asyncio.Event) -> None:
        """Returns when it was told, or stopped. Raises what broke the pump: the process ends, and a supervisor starts
        it again."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (told, self._ended)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        if self.broken is not None:
            raise self.broken

    def stop(self) -> None:
        """Do what is there to do without waiting, and no more after that."""
        if self._loop is None:
            return
        self._turn()
        if self.broken is None:
            self._flush()
            self._end()
            self._due_at = math.inf

    @property
    def behind(self) -> int:
        """How many events wait to be handled."""
        return len(self._inbox)

    def post(self, event: Event) -> None:
        """From the loop's own thread. What comes when the pump has stopped is dropped."""
        if self._over:
            return
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
            self._due_at = min(self._due_at, self.clock())
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._over:
            return
        try:
            self._work()
        except Exception as error:
            # A bug of ours. What it left undone nobody knows: so this ends, and whoever owns the pump ends with it.
            log.exception("the pump broke")
            self.broken = error
            self._due_at = -math.inf
            self._end()

    def _end(self) -> None:
        self._over = True
        self._ended.set()
        self._cancel_timer()
        self._inbox.clear()
        self._loop = None

    def _work(self) -> None:
        self._cancel_timer()
        self._due_at = self.clock()
        inbox = self._inbox
        for _ in range(PASSES_A_TURN):
            for _ in range(len(inbox)):
                self._take(inbox.popleft())
            wakes_at, now = self.machine.wakes_at, self.clock()
            if wakes_at is not None and wakes_at <= now:
                self._take(self._ticked)
                wakes_at = self.machine.wakes_at
            if not inbox:
                break
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
            return
        self._due_at = math.inf if wakes_at is None else wakes_at
        if wakes_at is not None and self._loop is not None:
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
