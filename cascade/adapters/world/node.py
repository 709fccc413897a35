"""A hop of a simulated world with the shell around it: models that take time, and a spool that outlives a crash."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from cascade.adapters.going_up import smaller
from cascade.adapters.world.clock import WorldClock
from cascade.adapters.world.link import SimulatedLink
from cascade.inference.effects import AskAbove, Effect, FreeHidden, Keep, Park, Remember, Reply, RunStage
from cascade.inference.events import (
    Asked,
    Durability,
    Event,
    Kept,
    LadderInstalled,
    Predicted,
    Remembered,
    RunFailed,
    Ticked,
)
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, Key, Question
from cascade.release.ladder import Ladder
from cascade.tally import Tally

Engine = Callable[[str, RunStage], Predicted | RunFailed]
"""What the models of a tier say to a batch, and how long they take: `(tier, what to run) -> outcome`."""


class HiddenEngine(Protocol):
    """An engine that keeps hidden features: `ReleaseModels`."""

    def sendable(self, tier: str, question: Question, stage: str) -> Question | None: ...

    def free(self, tier: str, key: Key) -> None: ...


Takes = Callable[[str, Predicted], float]
"""How many seconds of the world's time that was: `(tier, outcome) -> seconds`."""


def as_it_says(tier: str, outcome: Predicted) -> float:
    """The model says itself how long it took."""
    return outcome.ms / 1000.0


class Row(NamedTuple):
    """A line of the spool."""

    kept: Keep
    at: float
    durability: Durability


class Spool:
    """What is on the disk of one node: written after `write_s`, and there after a crash."""

    def __init__(self, write_s: float) -> None:
        self.write_s = write_s
        self.rows: dict[Key, Row] = {}
        self.answers: dict[Key, Answer] = {}
        self.parked: set[Key] = set()

    def forget(self, key: Key) -> None:
        self.rows.pop(key, None)
        self.answers.pop(key, None)
        self.parked.discard(key)


class SimulatedNode:
    """One hop. `crash` loses all but the spool; `start` begins anew from it."""

    def __init__(
        self,
        clock: WorldClock,
        settings: HopSettings,
        uplink: UplinkSettings | None,
        ladders: tuple[Ladder, ...],
        engine: Engine,
        *,
        above: SimulatedLink | None = None,
        spool_write_s: float = 0.002,
        takes_s: Takes = as_it_says,
        prepare: Callable[[Question], Question] | None = None,
        hidden: HiddenEngine | None = None,
    ) -> None:
        """`prepare` is what is done to a question before it goes up, as compressing it. `hidden` keeps the hidden
        features of models in segments."""
        self.clock, self.settings, self.ladders = clock, settings, ladders
        self.above = above
        self.spool = Spool(spool_write_s)
        self.reply: Callable[[Reply], None] = lambda reply: None
        self.tally = Tally(settings.tier)
        self.on_event: Callable[[Event, list[Effect], float], None] = lambda event, effects, now: None
        self._uplink, self._engine, self._takes_s, self._prepare = uplink, engine, takes_s, prepare
        self._hidden = hidden
        self._inbox: deque[Event] = deque()
        self._handling = False
        self._wakes_at: float | None = None
        self._life = 0
        self.hop: Hop | None = None

    def start(self) -> None:
        """Switch it on, with what its spool kept."""
        self._life += 1
        self.hop = Hop(self.settings, self._uplink)
        self.tally = Tally(self.settings.tier)
        for ladder in self.ladders:
            self.post(LadderInstalled(ladder))
        if self.above is not None:
            self.above.connect(self.post)
        self.spool.parked = set(self.spool.rows)
        self._feed()

    def crash(self) -> None:
        self._life += 1
        self.hop = None
        self._inbox.clear()
        self._wakes_at = None
        if self.above is not None:
            self.above.disconnect()

    def post(self, event: Event) -> None:
        if self.hop is None:
            return
        self._inbox.append(event)
        if self._handling:
            return
        self._handling = True
        while self.hop is not None and self._inbox:
            self._take(self._inbox.popleft())
        self._handling = False
        self._arrange_waking()

    def _take(self, event: Event) -> None:
        assert self.hop is not None
        effects = self.hop.handle(event, self.clock.now)
        self.tally.observe(event, effects, self.clock.now)
        self.on_event(event, effects, self.clock.now)
        asks = [self._going_up(effect) for effect in effects if isinstance(effect, AskAbove)]
        if asks and self.above is not None:
            self.above.ask(asks)
        for effect in effects:
            self._perform(effect)

    def _going_up(self, wanted: AskAbove) -> Question:
        hidden, tier = self._hidden, self.settings.tier
        question, packed = smaller(
            wanted, self._prepare, lambda asked, stage: hidden.sendable(tier, asked, stage) if hidden else None
        )
        if packed is not None:
            self.post(packed)
        return question

    def _perform(self, effect: Effect) -> None:
        match effect:
            case RunStage():
                outcome = self._engine(self.settings.tier, effect)
                took_s = self._takes_s(self.settings.tier, outcome) if isinstance(outcome, Predicted) else 0.0
                self._later(took_s, lambda: self.post(outcome))
            case Reply():
                self.reply(effect)
                if not effect.answer.provisional:
                    self.spool.forget(effect.answer.key)
                    self._feed()
            case Keep():
                self._later(self.spool.write_s, lambda: self._kept(effect))
            case Remember():
                self._later(self.spool.write_s, lambda: self._remembered(effect))
            case Park():
                self.spool.parked.add(effect.key)
            case FreeHidden() if self._hidden is not None:
                self._hidden.free(self.settings.tier, effect.key)
            case _:
                return

    def _kept(self, effect: Keep) -> None:
        key = effect.question.key
        durability = Durability.SYNCED if effect.sync else Durability.BATCHED
        self.spool.rows[key] = Row(effect, self.clock.now, durability)
        self.post(Kept(key))

    def _remembered(self, effect: Remember) -> None:
        if effect.key in self.spool.rows:
            self.spool.answers[effect.key] = effect.answer
        self.post(Remembered(effect.key))

    def _feed(self) -> None:
        """Take back from the spool what memory has room for, the most valuable first."""
        if self.hop is None or not self.spool.parked or len(self.hop.room) * 2 > self.settings.max_open:
            return
        rows = sorted((self.spool.rows[key] for key in self.spool.parked if key in self.spool.rows), key=_value)
        for row in rows[: max(1, self.settings.max_open // 4)]:
            self.spool.parked.discard(row.kept.question.key)
            self._restore(row)

    def _restore(self, row: Row) -> None:
        question, back = row.kept.question, row.kept.back
        answer = self.spool.answers.get(question.key)
        if answer is not None:
            self.reply(Reply(back, msgspec.structs.replace(answer, repeated=True)))
            self.spool.forget(question.key)
            return
        gone_ms = (self.clock.now - row.at) * 1000.0
        over_ms = max(0.0, gone_ms - question.ms_left)
        aged = msgspec.structs.replace(
            question,
            age_ms=question.age_ms + gone_ms,
            ms_left=max(0.0, question.ms_left - gone_ms),
            keep_ms=max(0.001, question.keep_ms - over_ms),
        )
        self.post(Asked(aged, back, row.durability, restored=True))

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        life = self._life
        self.clock.after(seconds, lambda: happen() if life == self._life else None)

    def _arrange_waking(self) -> None:
        if self.hop is None:
            return
        wakes_at = self.hop.wakes_at
        if wakes_at is None or (self._wakes_at is not None and self.clock.now < self._wakes_at <= wakes_at):
            return
        self._wakes_at = wakes_at
        life = self._life

        def wake() -> None:
            if life == self._life and self._wakes_at == wakes_at:
                self._wakes_at = None
                self.post(Ticked())

        self.clock.at(wakes_at, wake)


def _value(row: Row) -> tuple[int, float]:
    return (-row.kept.question.priority, row.at)
