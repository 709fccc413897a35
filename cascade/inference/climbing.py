"""What a hop can't answer climbs: whether to ask above now, what the hop above says, and what if it says nothing."""

from __future__ import annotations

import msgspec

from cascade.inference.audit import Audits
from cascade.inference.effects import AskAbove, Effect, FreeHidden
from cascade.inference.events import Durability
from cascade.inference.hidden import NEED_INPUT, SENT, SENT_BOTH, Lacking
from cascade.inference.replying import Replying
from cascade.inference.uplink import Uplink
from cascade.inference.waiting import Guess, Waiting, WaitingRoom
from cascade.messages import LOWEST_PRIORITY, Answer, Key, Outcome, Question, Step, Verdict
from cascade.release.ladder import Timing

AS_USUAL = Timing()
HURRIED = ("deadline", "no_time", "hedged")
"""Reasons of answers that came when they did because a question had no more time."""


class Climbing:
    """The way up and the way back. The hop at the top has none."""

    def __init__(
        self, uplink: Uplink, room: WaitingRoom, replying: Replying, audits: Audits, out: list[Effect]
    ) -> None:
        self.uplink = uplink
        self.room = room
        self.replying = replying
        self.audits = audits
        self.out = out
        self.timings: dict[str, Timing] = {}
        """By task, as its present ladder says."""
        self.lacking = Lacking()

    def climb(self, waiting: Waiting, now: float) -> None:
        question = waiting.question
        if waiting.hidden is not None and not waiting.hidden.sendable:
            self.out.append(FreeHidden(waiting.key))
            waiting.hidden = None
        timing = self.timings.get(question.task, AS_USUAL)
        if waiting.timing is not None:
            timing = waiting.timing.over(timing)
        blocked = self.uplink.blocked(now)
        if not blocked and self._is_vain(waiting, timing, now):
            self._note(waiting, "no_time")
            self.replying.end_without_above(waiting, "no_time")
            return
        if waiting.durability is Durability.BATCHED and not waiting.kept and waiting.wants_corrections:
            self.replying.keep(waiting, sync=False)
        self.room.settled(waiting)  # a guess that came after its deadline
        self.uplink.want(waiting.key, question.priority, question.payload_bytes)
        if blocked:
            self.without_above(waiting, blocked)
        elif timing.provisional_at < 1.0 and now < waiting.deadline:
            whole_s = waiting.deadline - waiting.arrived_at
            self.room.alarms.set(waiting.key, waiting.arrived_at + timing.provisional_at * whole_s)

    def _is_vain(self, waiting: Waiting, timing: Timing, now: float) -> bool:
        """Who wants corrections has time, and who has no guess has nothing better to do."""
        if waiting.guess is None or waiting.wants_corrections:
            return False
        return self.uplink.promptness.is_vain(waiting.deadline - now, timing.worth_asking, now)

    def hedge(self, waiting: Waiting) -> None:
        """A part of its time is over: the guess is given now, and the answer from above may still correct it."""
        self.room.alarms.set(waiting.key, waiting.deadline)
        if waiting.guess is not None and waiting.given is None:
            self._note(waiting, "hedged")
            self.replying.provisionally(waiting, "hedged")

    def _note(self, waiting: Waiting, reason: str) -> None:
        """A line of the trail without a stage: what this hop made of the time."""
        node, tier = self.replying.settings.node, self.replying.settings.tier
        waiting.steps.append(Step(node=node, tier=tier, stage="", model="", verdict=Verdict.ANSWER, reason=reason))

    def without_above(self, waiting: Waiting, reason: str) -> None:
        """Nobody can be asked now. Who wants corrections is told so far; who has no guess waits for its deadline."""
        if waiting.guess is None:
            return
        if not waiting.wants_corrections:
            self.replying.end_without_above(waiting, reason)
        elif waiting.given is None:
            self.replying.provisionally(waiting, reason)

    def ask(self, now: float) -> None:
        """Send up who may go now."""
        for key in self.uplink.next_asks(now):
            audited = self.audits.question(key)
            waiting = self.room.get(key)
            if waiting is not None:
                self.out.append(AskAbove(self._onward(waiting, now), self._sendable(waiting, now)))
                patience = now + self.uplink.settings.answer_within_s
                self.uplink.give_up_at(key, min(patience, waiting.deadline) if waiting.deadline > now else patience)
            elif audited is not None:
                self.out.append(AskAbove(_as_audit(audited, self.replying.settings.audit_within_s)))
                self.uplink.give_up_at(key, now + self.replying.settings.audit_within_s)
            else:
                self.uplink.done(key)

    def _sendable(self, waiting: Waiting, now: float) -> str:
        """Of the hidden features that may go in place of the input: the stage."""
        hidden, question = waiting.hidden, waiting.question
        if hidden is None or self.lacking.holds(question.task, question.release, now):
            return ""
        return hidden.sendable

    def _onward(self, waiting: Waiting, now: float) -> Question:
        ms_left = (waiting.deadline - now) * 1000.0 - self.uplink.settings.reserve_ms
        return msgspec.structs.replace(
            waiting.question,
            ms_left=max(0.0, ms_left),
            age_ms=waiting.age_ms(now),
            keep_ms=max(0.0, (waiting.keep_until - max(now, waiting.deadline)) * 1000.0),
            stage="",
        )

    def answered(self, answer: Answer, now: float) -> None:
        key = answer.key
        if key in self.audits:
            self.out.append(self.audits.settle(answer))
            if answer.outcome is Outcome.REFUSED and answer.reason == "overloaded":
                self.uplink.refused(key, now)
            else:
                self.uplink.succeeded(key)
            self.uplink.done(key)
            return
        waiting = self.room.get(key)
        if waiting is None:
            return  # It ended here meanwhile: the answer that was given stands.
        if answer.outcome in (Outcome.ANSWERED, Outcome.DROPPED):
            if answer.reason not in HURRIED:
                self.uplink.answered(key, now)
            if answer.provisional:
                self.uplink.promised(key, now)
            else:
                self.uplink.succeeded(key)
            self._pass_on(waiting, answer)
        else:
            self._turned_away(waiting, answer, now)

    def _pass_on(self, waiting: Waiting, answer: Answer) -> None:
        if answer.prediction is not None:
            waiting.guess = Guess(answer.prediction, answer.label, answer.tier, answer.trail)
        if answer.provisional:
            if waiting.wants_corrections and not _says_the_same(answer, waiting.given):
                # The hop above goes on waiting for us: its final answer takes this one's place.
                self.replying.give(waiting, _with_trail(waiting, answer))
            return
        self.replying.end(waiting, _with_trail(waiting, answer))

    def _turned_away(self, waiting: Waiting, answer: Answer, now: float) -> None:
        """A provisional expiry says only that the hop above has nothing yet; a refusal may say when to come back."""
        if answer.provisional:
            self.uplink.promised(waiting.key, now)
            return
        retry_ms = answer.retry_ms
        if answer.outcome is Outcome.REFUSED and answer.reason == NEED_INPUT:
            self._needs_input(waiting, answer, now)
            return
        if answer.outcome is Outcome.REFUSED and retry_ms is not None:
            if answer.reason == "overloaded":
                self.uplink.refused(waiting.key, now)
            else:
                self.uplink.succeeded(waiting.key)
            self.uplink.pause(waiting.key, now + retry_ms / 1000.0)
            if now + retry_ms / 1000.0 >= waiting.keep_until:
                self.replying.end_without_above(waiting, f"above_{answer.reason}")
            return
        self.uplink.succeeded(waiting.key)
        if answer.outcome is Outcome.EXPIRED and waiting.wants_corrections and now < waiting.keep_until:
            self.uplink.pause(waiting.key, now + self.uplink.settings.ask_again_s)
            return
        self.replying.end_without_above(waiting, f"above_{answer.reason}")

    def _needs_input(self, waiting: Waiting, answer: Answer, now: float) -> None:
        """It lacks what goes on from the hidden features that it was sent. Whoever has the input sends it."""
        self.uplink.succeeded(waiting.key)
        hidden, question = waiting.hidden, waiting.question
        if answer.prediction is not None:
            waiting.guess = Guess(answer.prediction, answer.label, answer.tier, answer.trail)
        if hidden is not None and hidden.sent == SENT:
            hidden.sendable, hidden.sent = "", SENT_BOTH
            self.lacking.note(question.task, question.release, now)
            self.out.append(FreeHidden(waiting.key))
            self.uplink.want(waiting.key, question.priority, question.payload_bytes)
        elif question.hidden:
            self.replying.refuse(waiting, NEED_INPUT)
        else:
            self.replying.end_without_above(waiting, f"above_{NEED_INPUT}")

    def link_up(self) -> None:
        self.lacking.forget()
        self.uplink.link_up()

    def unsendable(self, key: Key, reason: str) -> None:
        if key in self.audits:
            self.out.append(self.audits.missed(key))
            self.uplink.done(key)
            return
        waiting = self.room.get(key)
        if waiting is not None:
            self.replying.end_without_above(waiting, reason)

    def link_lost(self) -> None:
        """Who waits is told the best guess; who has none waits on, for the link or for its deadline."""
        for key in self.uplink.link_lost():
            waiting = self.room.get(key)
            if waiting is not None:
                self.without_above(waiting, "link_down")

    def tick(self, now: float) -> None:
        self.uplink.overdue(now)
        for key, record in self.audits.overdue(now):
            self.uplink.done(key)
            self.out.append(record)


def _says_the_same(answer: Answer, given: Answer | None) -> bool:
    """A hop that is asked again says again what it said."""
    return given is not None and (answer.prediction, answer.tier) == (given.prediction, given.tier)


def _with_trail(waiting: Waiting, answer: Answer) -> Answer:
    """As ours: what it is to the one below is said by its own life here."""
    trail = waiting.trail() + answer.trail
    return msgspec.structs.replace(answer, trail=trail, correction=False, repeated=False, retry_ms=None)


def _as_audit(question: Question, within_s: float) -> Question:
    return msgspec.structs.replace(
        question, audit=True, priority=LOWEST_PRIORITY, ms_left=within_s * 1000.0, keep_ms=0.0, stage=""
    )
