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
from typing import Generic, TypeAlias, TypeVar

from cascade.machine import Machine

Event = TypeVar("Event")
Effect = TypeVar("Effect")

Observe: TypeAlias = Callable[[Event, list[Effect], float], None]

log = logging.getLogger(__name__)

LAST_OF_PASSES = (False, True)
"""What a model said in line is dealt with in the same turn: a look at the sockets in between would cost more."""

IN_LINE_S = 0.002
"""For so long a caller that asks one thing after the other may do without the loop: then sockets have their turn."""

TIMER_SLACK_S = 0.0005
"""So much too late is no reason to set a timer anew: where deadlines are all alike, that would be at each question."""

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
        observers: tuple[Observe[Event, Effect], ...] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.machine = machine
        self.clock = clock
        self.broken: Exception | None = None
        """What a turn raised: a bug, after which nothing is handled any more."""
        self._ended = asyncio.Event()
        self._due_at = math.inf
        self._ticked = ticked
        self._perform, self._flush, self.observers = perform, flush, observers
        self._inbox: deque[Event] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._working = False
        self._rested_at = 0.0
        """When the loop last had its turn, as far as this pump knows."""
        self._over = False
        self._unflushed_turns = 0
        self._wakes_at: float | None = None

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

    @property
    def quiet(self) -> bool:
        """Nothing is being handled, and nothing waits to be: the next event can be handled in line."""
        return not self._working and not self._inbox and self._loop is not None and not self._over

    def handle_in_line(self, event: Event) -> None:
        """As `post` and a turn of the loop, without the loop: for who needs an outcome now, while all is quiet."""
        self._inbox.append(event)
        self._turn()

    async def rest(self) -> None:
        """For who has been handling in line: now and then the loop must look at its sockets and timers."""
        if self.clock() - self._rested_at > IN_LINE_S:
            await asyncio.sleep(0)
            self._rested_at = self.clock()

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
            self._loop.call_soon(self._scheduled_turn)

    def _scheduled_turn(self) -> None:
        self._scheduled = False
        self._rested_at = self.clock()
        self._turn()

    def _timed_turn(self) -> None:
        self._timer = None
        self._turn()

    def _turn(self) -> None:
        if self._over:
            return
        scheduled_before, self._scheduled = self._scheduled, True  # what is posted meanwhile needs no other turn
        self._working = True
        try:
            busy = self._work()
            self._scheduled = scheduled_before
            self._arrange_next_turn(busy)
        except Exception as error:
            # A bug of ours. What it left undone nobody knows: so this ends, and whoever owns the pump ends with it.
            log.exception("the pump broke")
            self.broken = error
            self._due_at = -math.inf
            self._end()
        finally:
            self._working = False

    def _end(self) -> None:
        self._over = True
        self._ended.set()
        self._cancel_timer()
        self._inbox.clear()
        self._loop = None

    def _work(self) -> bool:
        """Whether something is left to do at once."""
        self._due_at = self.clock()
        inbox, machine = self._inbox, self.machine
        for last in LAST_OF_PASSES:
            for _ in range(len(inbox)):
                self._take(inbox.popleft())
            if inbox and not last:
                continue
            self._wakes_at, now = machine.wakes_at, self.clock()
            if self._wakes_at is not None and self._wakes_at <= now:
                self._take(self._ticked)
                self._wakes_at = machine.wakes_at
            if not inbox:
                break
        self._unflushed_turns += 1
        busy = bool(inbox) or (self._wakes_at is not None and self._wakes_at <= now)
        if not busy or self._unflushed_turns >= TURNS_BEFORE_FLUSH:
            self._unflushed_turns = 0
            self._flush()
            busy = self._note_flushed() or busy
        return busy or bool(inbox)

    def _note_flushed(self) -> bool:
        """What was sent is noted in the same turn; true where that calls for another."""
        inbox, more = self._inbox, False
        if not inbox:
            return False
        for _ in range(len(inbox)):
            more = self._take(inbox.popleft()) or more
        self._wakes_at = self.machine.wakes_at
        return more or (self._wakes_at is not None and self._wakes_at <= self.clock())

    def _arrange_next_turn(self, busy: bool) -> None:
        if busy:
            if not self._scheduled:
                self._schedule()
            return
        wakes_at, timer = self._wakes_at, self._timer
        self._due_at = math.inf if wakes_at is None else wakes_at
        if wakes_at is None or self._loop is None:
            return  # A timer that rings for nothing does no harm.
        in_s = max(0.0, wakes_at - self.clock())
        if timer is not None:
            if timer.when() <= self._loop.time() + in_s + TIMER_SLACK_S:
                return
            timer.cancel()
        self._timer = self._loop.call_later(in_s, self._timed_turn)

    def _take(self, event: Event) -> bool:
        """Whether the machine wanted something."""
        now = self.clock()
        effects = self.machine.handle(event, now)
        for observe in self.observers:
            observe(event, effects, now)
        if effects:
            self._perform(effects)
            return True
        return False

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
