"""The shell that all three tiers share: a hop on its pump, its models, and the link above.

What differs is where questions come from and where replies go: each tier's `inference_loop.py` says that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Literal, Protocol, TypeAlias

from cascade.adapters.drive import Drive
from cascade.adapters.going_up import smaller
from cascade.adapters.slow_models import Paces, SlowModels
from cascade.adapters.standing_log import StandingLog
from cascade.adapters.transports.transport import Above
from cascade.inference.effects import (
    AskAbove,
    Effect,
    FreeHidden,
    Keep,
    Park,
    RecordStanding,
    Remember,
    Reply,
    RunStage,
)
from cascade.inference.events import Event, Predicted, Remembered, RunFailed, Ticked
from cascade.inference.hop import Hop
from cascade.messages import Key, Question

ModelThread: TypeAlias = Literal["auto", "never", "always"]
MODEL_ENDS_WITHIN_S = 10.0
"""When all is told to stop: for how long a model that runs is waited for."""

log = logging.getLogger(__name__)


class StageEngine(Protocol):
    """What runs stages: `cascade.adapters.stage_runner.StageRunner`."""

    def run(self, effect: RunStage) -> Predicted | RunFailed: ...

    def sendable(self, question: Question, stage: str) -> Question | None:
        """With hidden features in place of its input: only asked of stages that send any."""

    def free(self, key: Key) -> None:
        """Nothing goes on from a question's hidden features."""


class Observer(Protocol):
    """Who counts: `cascade.tally.Tally`, and a journal."""

    def observe(self, event: Event, effects: list[Effect], now: float) -> None: ...


class HopShell:
    """Performs what a hop wants, and posts how it went."""

    def __init__(
        self,
        hop: Hop,
        engine: StageEngine,
        *,
        reply: Callable[[Reply], None],
        flush_replies: Callable[[], None] = lambda: None,
        above: Above | None = None,
        prepare: Callable[[Question], Question] | None = None,
        keep: Callable[[Keep], None] | None = None,
        remember: Callable[[Remember], None] | None = None,
        park: Callable[[Park], None] | None = None,
        observers: tuple[Observer, ...] = (),
        model_thread: ModelThread = "auto",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.hop = hop
        self._engine = engine
        self._above = above
        self._prepare = prepare
        self._flush_replies = flush_replies
        self._model_thread = model_thread
        self._paces = Paces()
        self._slow_models = SlowModels(engine.run, self._ran_beside, clock)
        self._stopping = False
        self._asks: list[Question] = []
        self._performers: dict[type, Callable[[Any], None]] = {
            RunStage: self._run_stage,
            AskAbove: self._ask_above,
            FreeHidden: lambda effect: engine.free(effect.key),
            Reply: reply,
            Remember: remember or self._remember_nothing,
            RecordStanding: StandingLog(),
        }
        if keep is not None:
            self._performers[Keep] = keep
        if park is not None:
            self._performers[Park] = park
        seen_by = tuple([observer.observe for observer in observers])
        self.drive: Drive[Event, Effect] = Drive(
            hop, Ticked(), perform=self._perform, flush=self._flush, observers=seen_by, clock=clock
        )
        self.post = self.drive.post
        self.post_from_thread = self.drive.post_from_thread
        self.call_from_thread = self.drive.call_from_thread

    def idle_s(self) -> float:
        """For how long the pump, or a model beside it, owes a sign of life. From any thread."""
        return max(self.drive.idle_s(), self._slow_models.busy_s())

    async def start(self) -> None:
        self.drive.start()
        if self._above is not None:
            await self._above.open(self.post)

    async def stop(self) -> None:
        """Models finish what they run; what the hop still holds is for its spool, or for whoever asks again."""
        self._stopping = True
        if not await self._slow_models.close(MODEL_ENDS_WITHIN_S):
            log.error("a model has not returned within %g s: it is left behind", MODEL_ENDS_WITHIN_S)
        await asyncio.sleep(0)  # what it said last is in the loop, and is handled first
        self.drive.stop()
        if self._above is not None:
            await self._above.close()

    def _perform(self, effects: list[Effect]) -> None:
        performers = self._performers
        for effect in effects:
            performer = performers.get(type(effect))
            if performer is not None:  # the records are for those who observe
                performer(effect)

    def _flush(self) -> None:
        if self._asks and self._above is not None:
            asks, self._asks = self._asks, []
            self._above.ask(asks)
        self._flush_replies()

    def _ask_above(self, wanted: AskAbove) -> None:
        if not wanted.hidden:
            self._asks.append(self._prepare(wanted.question) if self._prepare else wanted.question)
            return
        question, packed = smaller(wanted, self._prepare, self._engine.sendable)
        self._asks.append(question)
        if packed is not None:
            self.post(packed)

    def _remember_nothing(self, effect: Remember) -> None:
        self.post(Remembered(effect.key))

    def _run_stage(self, wanted: RunStage) -> None:
        if self._stopping:
            return
        if self._model_thread == "always" or self._paces.slow(wanted):
            self._slow_models.submit(wanted)
            return
        result = self._engine.run(wanted)
        self._note_pace(wanted, result)
        self.post(result)

    def _ran_beside(self, wanted: RunStage, result: Predicted | RunFailed) -> None:
        """In the models' thread."""

        def handle() -> None:
            self._note_pace(wanted, result)
            self.post(result)

        self.call_from_thread(handle)

    def _note_pace(self, wanted: RunStage, result: Predicted | RunFailed) -> None:
        if self._model_thread == "auto" and isinstance(result, Predicted):
            self._paces.took(wanted, result.ms)
