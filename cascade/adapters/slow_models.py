"""One thread for models that take their time: while they run, the loop answers heartbeats.

Not an executor: the interpreter waits for the threads of an executor when it ends, and a model that never returns would
keep a process that was told to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import monotonic

from cascade.inference.effects import RunStage
from cascade.inference.events import Predicted, RunFailed

Ran = Callable[[Predicted | RunFailed], None]


class SlowModels:
    """Runs what it is given, in turn. `run` is called in the thread, and so is `ran` with what came of it."""

    def __init__(
        self, run: Callable[[RunStage], Predicted | RunFailed], ran: Ran, clock: Callable[[], float] = monotonic
    ) -> None:
        self._run, self._ran, self._clock = run, ran, clock
        self._wanted: SimpleQueue[RunStage | None] = SimpleQueue()
        self._began_at: float | None = None
        self._thread: Thread | None = None

    def submit(self, wanted: RunStage) -> None:
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
            self._ran(outcome)
