"""A hop: the same machine at the edge, in the fog and in the cloud, composed of ladders, waiting room and uplink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.inference.audit import Audits, Dice
from cascade.inference.climbing import Climbing
from cascade.inference.effects import Effect, FreeHidden
from cascade.inference.events import (
    Answered,
    Asked,
    Durability,
    Event,
    Evicted,
    Kept,
    LadderInstalled,
    LinkLost,
    LinkUp,
    Packed,
    Predicted,
    Remembered,
    RunFailed,
    Sent,
    Ticked,
    Unsendable,
)
from cascade.inference.hidden import NEED_INPUT, SENT
from cascade.inference.replying import HopSettings, Replying
from cascade.inference.uplink import Uplink, UplinkSettings
from cascade.inference.vigils import Vigils
from cascade.inference.waiting import Waiting, WaitingRoom
from cascade.inference.weigh import Ladders, Weighing
from cascade.messages import Decision, Key, Verdict

CLIMB, SYNCED = Verdict.CLIMB, Durability.SYNCED
"""Here, and where else each question runs through: to find a member of an enum takes Python 3.11 a tenth of a µs."""


class Hop:
    """Events in, effects out. What another knows better it asks above; whatever happens, the asker hears in time."""

    def __init__(self, settings: HopSettings, uplink: UplinkSettings | None = None) -> None:
        self.settings = settings
        dice = Dice(settings.seed, settings.node)
        self._now = 0.0
        self._out: list[Effect] = []
        self.room = WaitingRoom(settings.max_open, settings.max_keep_ms)
        self._open = self.room.open
        self.ladders = Ladders(settings.node, settings.tier, topmost=uplink is None, open_ones=self._open)
        self.ladders.left = lambda key: self._out.append(FreeHidden(key))
        self.audits = Audits(settings.audit_share, settings.max_audits, dice)
        self.uplink = Uplink(uplink, dice) if uplink is not None else None
        self._replying = Replying(settings, self.room, self.uplink, self.audits, self._out)
        self._climbing: Climbing | None = None
        self.vigils = Vigils(self._out)
        if self.uplink is not None:
            self._climbing = Climbing(self.uplink, self.room, self._replying, self.audits, self._out)
            self._stand_guard(self.uplink)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Asked: self._asked,
            Kept: self._kept,
            Remembered: lambda event: self._replying.remembered(event.key),
            Evicted: lambda event: self._replying.evicted(event),
            Predicted: self._predicted,
            RunFailed: self._run_failed,
            Ticked: lambda event: self._ticked(),
            LadderInstalled: self._installed,
        }
        if self._climbing is not None:
            self._handlers |= self._link_handlers(self._climbing)

    def handle(self, event: Event, now: float) -> list[Effect]:
        if now > self._now:  # a clock that jumps back must not give time back
            self._now = now
        handler = self._handlers.get(type(event))
        if handler is not None:  # what only the metrics care about is none of the hop's business
            handler(event)
        uplink = self.uplink
        if self._climbing is not None and uplink is not None and uplink.has_asks:
            self._climbing.ask(self._now)
        effects = self._out.copy()
        self._out.clear()
        return effects

    @property
    def wakes_at(self) -> float | None:
        if self.ladders.ready:
            return self._now
        soonest = self.room.alarms.next_at
        others = (self.audits.next_at, self.uplink.wakes_at(self._now) if self.uplink is not None else None)
        for at in others:
            if at is not None and (soonest is None or at < soonest):
                soonest = at
        return soonest

    def _link_handlers(self, climbing: Climbing) -> dict[type, Callable[[Any], None]]:
        return {
            Answered: self._answered,
            Sent: self._sent,
            Unsendable: lambda event: climbing.unsendable(event.key, event.reason),
            LinkUp: lambda event: climbing.link_up(),
            Packed: self._packed,
            LinkLost: lambda event: climbing.link_lost(),
        }

    def _stand_guard(self, uplink: Uplink) -> None:
        self.ladders.spares = lambda: uplink.scarce(self._now)
        self.audits.ended = self.vigils.audited

    def _installed(self, event: LadderInstalled) -> None:
        rungs = self.ladders.install(event.ladder)
        if self._climbing is not None:
            self._climbing.timings[event.ladder.task] = event.ladder.timing
            self.vigils.install(event.ladder, rungs)

    def _answered(self, event: Answered) -> None:
        self.vigils.heard(event.answer)
        if self._climbing is not None:
            self._climbing.answered(event.answer, self._now)

    def _asked(self, event: Asked) -> None:
        question, replying, key = event.question, self._replying, event.question.key
        if key in self._open or event.earlier is not None or key in replying.recording:
            replying.repeat(event, key)
        elif question.ms_left <= 0.0 and question.keep_ms <= 0.0:
            replying.turn_away(question, event.back, "too_late")
        elif self.uplink is None and not self.ladders.knows(question.task):
            replying.turn_away(question, event.back, "unknown_task")
        elif question.hidden and self.ladders.lacks(question):
            replying.turn_away(question, event.back, NEED_INPUT)
        elif len(self._open) >= self.settings.max_open and not replying.make_room(event):
            replying.turn_away(question, event.back, "overloaded", retry_ms=self.settings.retry_ms)
        else:
            self._accept(event, key)

    def _accept(self, event: Asked, key: Key) -> None:
        waiting = self.room.enter(event, key, self._now)
        if event.restored:
            self.room.settled(waiting)
        elif event.durability is SYNCED:
            waiting.holding = True
            self._replying.keep(waiting, sync=True)
            return
        self._begin(waiting, alone=event.alone)

    def _kept(self, event: Kept) -> None:
        waiting = self.room.get(event.key)
        if waiting is None:
            return
        waiting.kept = event.durable
        self.room.settled(waiting)
        if waiting.holding:
            waiting.holding = False
            self._begin(waiting)

    def _begin(self, waiting: Waiting, *, alone: bool = False) -> None:
        rung = self.ladders.entry(waiting.question)
        if rung is not None:
            if alone and rung.queue.idle:
                self._out.append(self.ladders.run(rung, (waiting.key,), (waiting.question,), self._now))
            else:
                self.ladders.enqueue(waiting, rung)
                if alone:
                    self._out.extend(self.ladders.runs(self._now))
            return
        decision = Decision(CLIMB, "no_stage_here")
        waiting.steps.append(self.ladders.step(None, decision))
        self._climb(waiting, decision, "")

    def _predicted(self, event: Predicted) -> None:
        for weighing in self.ladders.weigh(event, self._now):
            self._follow(weighing)

    def _run_failed(self, event: RunFailed) -> None:
        for weighing in self.ladders.failed(event, self._now):
            self._follow(weighing)

    def _follow(self, weighing: Weighing) -> None:
        waiting, rung, decision = weighing.waiting, weighing.rung, weighing.decision
        if decision is None:
            self._replying.refuse(waiting, "bad_input")
        elif decision.verdict is not CLIMB:
            self._replying.decide(waiting, decision, rung.stage.name)
            self._replying.settle(waiting, decision, self._now)
        elif rung.above is not None:
            self.ladders.enqueue(waiting, rung.above)
        else:
            self._climb(waiting, decision, rung.stage.name)

    def _climb(self, waiting: Waiting, decision: Decision, stage: str) -> None:
        if self._climbing is None:
            self._replying.end_without_above(waiting, decision.reason)
            return
        self._replying.decide(waiting, decision, stage)
        self._climbing.climb(waiting, self._now)

    def _sent(self, event: Sent) -> None:
        if self.uplink is None or not event.questions:
            return
        self.uplink.sent(event.questions, event.bytes)
        for key in event.questions:
            waiting = self.room.get(key)
            if waiting is not None:
                waiting.uplink_bytes += event.bytes // len(event.questions)

    def _packed(self, event: Packed) -> None:
        waiting = self.room.get(event.key)
        if waiting is not None and waiting.hidden is not None:
            waiting.hidden.sent = SENT

    def _ticked(self) -> None:
        if self._climbing is not None:
            self._climbing.tick(self._now)
        for key in self.room.alarms.due(self._now):
            waiting = self.room.get(key)
            if waiting is not None:
                self._due(waiting)
        self._out.extend(self.ladders.runs(self._now))

    def _due(self, waiting: Waiting) -> None:
        """Its deadline, or the end of the time for which a late answer is wanted; or a part of its time."""
        if self._now < waiting.deadline and self._climbing is not None:
            self._climbing.hedge(waiting)
        elif self._now < waiting.keep_until:
            if waiting.given is None:
                self._replying.provisionally(waiting, "deadline")
            self.room.alarms.set(waiting.key, waiting.keep_until)
        elif waiting.capped:
            self._replying.refuse(waiting, "not_kept_longer", retry_ms=self.settings.retry_ms)
        else:
            self._replying.end_without_above(waiting, "gave_up" if waiting.wants_corrections else "deadline")
