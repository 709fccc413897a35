"""Models that take their time run in one thread beside the loop: meanwhile it answers heartbeats.

Not an executor: the interpreter waits for the threads of an executor when it ends, and a model that never returns would
keep a process that was told to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Generic, TypeVar

from cascade.inference.effects import RunStage

Wanted = TypeVar("Wanted")
Outcome = TypeVar("Outcome")

INLINE_MOST_MS = 10.0
"""A model call that takes longer moves to a thread: while it runs in line, no heartbeat is answered."""

QUICK_RUNS_TO_RETURN = 8


class Paces:
    """Which stages run beside the loop. One slow call moves a stage there; several quick ones in a row bring it back,
    because a busy core can make any call slow, and a hand-off costs more than a small model does."""

    def __init__(self) -> None:
        self._quick_runs: dict[tuple[str, str, str], int] = {}

    def slow(self, wanted: RunStage) -> bool:
        return (wanted.task, wanted.release, wanted.stage) in self._quick_runs

    def took(self, wanted: RunStage, ms: float) -> None:
        stage = wanted.task, wanted.release, wanted.stage
        if ms > INLINE_MOST_MS:
            self._quick_runs[stage] = 0
        elif stage in self._quick_runs:
            self._quick_runs[stage] += 1 if ms < INLINE_MOST_MS / 2 else -self._quick_runs[stage]
            if self._quick_runs[stage] >= QUICK_RUNS_TO_RETURN:
                del self._quick_runs[stage]


class SlowModels(Generic[Wanted, Outcome]):
    """Runs what it is given, in turn. `run` is called in the thread, and so is `ran` with what came of it."""

    def __init__(
        self,
        run: Callable[[Wanted], Outcome],
        ran: Callable[[Wanted, Outcome], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._run, self._ran, self._clock = run, ran, clock
        self._wanted: SimpleQueue[Wanted | None] = SimpleQueue()
        self._began_at: float | None = None
        self._thread: Thread | None = None

    def submit(self, wanted: Wanted) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name="models", daemon=True)
            self._thread.start()
        self._wanted.put(wanted)

    def busy_s(self) -> float:
        """For how long the model that runs has been running, from any thread."""
        began_at = self._began_at
        return self._clock() - began_at if began_at is not None else 0.0

    async def close(self, within_s: float) -> bool:
        """Let it finish what it was given. False where it did not: then it is left behind."""
        thread = self._thread
        if thread is None:
            return True
        self._wanted.put(None)
        await asyncio.to_thread(thread.join, within_s)
        return not thread.is_alive()

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            self._began_at = self._clock()
            outcome = self._run(wanted)
            self._began_at = None
            self._ran(wanted, outcome)
