"""How questions end: what is given to the one who asked, once finally, perhaps provisionally before."""

from __future__ import annotations

import msgspec

from cascade.inference.audit import Audit, Audits
from cascade.inference.effects import Effect, FreeHidden, Keep, Park, RecordDecision, RecordUndecided, Remember, Reply
from cascade.inference.events import Asked, Durability, Evicted
from cascade.inference.uplink import Uplink
from cascade.inference.waiting import Waiting, WaitingRoom
from cascade.messages import (
    LOWEST_PRIORITY,
    Answer,
    Decision,
    Key,
    Outcome,
    Question,
    Verdict,
    Word,
    answer_to,
)

DROP, ANSWERED, DROPPED, SYNCED = Verdict.DROP, Outcome.ANSWERED, Outcome.DROPPED, Durability.SYNCED


class HopSettings(Word, frozen=True, gc=False, kw_only=True):
    """How a hop treats what it is asked."""

    node: str
    tier: str
    max_open: int = 4096
    max_keep_ms: float = 86_400_000.0
    """For how long this hop keeps a question open for a late answer, whatever the question says."""
    retry_ms: float = 1000.0
    """When the refused may come back."""
    remembers: bool = False
    """Record final answers before they are given, so that a repeated question gets the same one. For a memory across a
    network, or a disk: one in the process is told while they are given."""
    audit_share: float = 0.0
    max_audits: int = 64
    audit_within_s: float = 10.0
    seed: bytes = b""


class Replying:
    """Every way in which an answer leaves the hop. It writes effects, and keeps the waiting room right."""

    def __init__(
        self, settings: HopSettings, room: WaitingRoom, uplink: Uplink | None, audits: Audits, out: list[Effect]
    ) -> None:
        self.settings = settings
        self.room = room
        self.uplink = uplink
        self.audits = audits
        self.out = out
        self.recording: dict[Key, tuple[list[str], Answer]] = {}
        """Final answers that are given once they are recorded, and to whom."""

    def repeat(self, asked: Asked, key: Key) -> None:
        """A question that is known already gets what it got, or waits with the one before it."""
        if asked.earlier is not None:
            self.out.append(Reply(asked.back, asked.earlier))
            return
        waiting = self.room.get(key)
        backs = waiting.backs if waiting is not None else self.recording[key][0]
        if asked.back not in backs:
            backs.append(asked.back)
        if waiting is not None and waiting.given is not None:
            self.out.append(Reply(asked.back, waiting.given))

    def make_room(self, asked: Asked) -> bool:
        """Where all is full, somebody who is safe elsewhere, or worth less, has to go. False: nobody is."""
        parked = self.room.to_park()
        if parked is not None:
            self._leave(parked)
            self.out.append(Park(parked.key))
            return True
        hoping = self.room.to_settle(asked.question.priority)
        if hoping is not None:
            self.end_without_above(hoping, "gave_up")
            return True
        shed = self.room.to_shed(asked.question.priority)
        if shed is None:
            return False
        self.end_without_above(shed, "overloaded", retry_ms=self.settings.retry_ms)
        return True

    def turn_away(self, question: Question, back: str, reason: str, *, retry_ms: float | None = None) -> None:
        outcome = Outcome.EXPIRED if reason == "too_late" else Outcome.REFUSED
        self.out.append(RecordUndecided(question, outcome, reason))
        self.out.append(Reply(back, answer_to(question, outcome, reason, retry_ms=retry_ms)))

    def decide(self, waiting: Waiting, decision: Decision, stage: str) -> None:
        """Count what this hop decided, the first time only: what is tried again is still one question."""
        if waiting.decided:
            return
        waiting.decided = True
        label = waiting.guess.label if waiting.guess else ""
        self.out.append(RecordDecision(waiting.question, decision, stage, label))

    def settle(self, waiting: Waiting, decision: Decision, now: float) -> None:
        """This hop's own gate said answer, or drop. By chance the hop above is asked as well, to compare."""
        question, guess = waiting.question, waiting.guess
        self.end(waiting, waiting.answer(DROPPED if decision.verdict is DROP else ANSWERED, decision.reason))
        if self.uplink is None or question.audit or not self.audits.chosen(question.id):
            return
        prediction = guess.prediction if guess is not None else None
        audit = Audit(question, decision.verdict, prediction, now + self.settings.audit_within_s)
        if self.uplink.blocked(now) or not self.audits.begin(audit):
            self.out.append(self.audits.record(audit, None))
            return
        self.uplink.want(question.key, LOWEST_PRIORITY, question.payload_bytes)

    def provisionally(self, waiting: Waiting, reason: str) -> None:
        """The best that is there by the deadline; that nothing is there is said too."""
        outcome = Outcome.ANSWERED if waiting.guess else Outcome.EXPIRED
        self.give(waiting, waiting.answer(outcome, reason, provisional=True))

    def end_without_above(self, waiting: Waiting, reason: str, *, retry_ms: float | None = None) -> None:
        """Nothing more comes from above: the best guess is final; without one the question expired, or is refused."""
        if waiting.guess is not None:
            self.decide(waiting, Decision(Verdict.ANSWER, reason), "")
            self.end(waiting, waiting.answer(Outcome.ANSWERED, reason))
            return
        expired = reason in ("deadline", "gave_up")
        self.refuse(waiting, reason, outcome=Outcome.EXPIRED if expired else Outcome.REFUSED, retry_ms=retry_ms)

    def refuse(
        self, waiting: Waiting, reason: str, *, outcome: Outcome = Outcome.REFUSED, retry_ms: float | None = None
    ) -> None:
        if not waiting.decided:
            waiting.decided = True
            self.out.append(RecordUndecided(waiting.question, outcome, reason))
        self.end(waiting, msgspec.structs.replace(waiting.answer(outcome, reason), retry_ms=retry_ms))

    def evicted(self, event: Evicted) -> None:
        """The spool gave a question up. What is still in memory goes on from memory; a parked one has ended."""
        waiting = self.room.get(event.question.key)
        if waiting is not None:
            waiting.kept = False
            self.room.settled(waiting)
            return
        if event.question.key not in self.recording:
            self.turn_away(event.question, event.back, event.reason)

    def give(self, waiting: Waiting, answer: Answer) -> None:
        given = waiting.give(answer)
        for back in waiting.backs:
            self.out.append(Reply(back, given))
        self.room.settled(waiting)

    def end(self, waiting: Waiting, answer: Answer) -> None:
        """Give a final answer: recorded first where that is promised."""
        given = waiting.give(answer)
        if waiting.durability is SYNCED or (self.settings.remembers and answer.settles):
            self.recording[waiting.key] = (waiting.backs, given)
            self.out.append(Remember(waiting.key, given))
        else:
            for back in waiting.backs:
                self.out.append(Reply(back, given))
        self._leave(waiting)

    def remembered(self, key: Key) -> None:
        backs, answer = self.recording.pop(key)
        self.out.extend(Reply(back, answer) for back in backs)

    def _leave(self, waiting: Waiting) -> None:
        self.room.leave(waiting)
        if waiting.hidden is not None:
            self.out.append(FreeHidden(waiting.key))
        if self.uplink is not None:
            self.uplink.done(waiting.key)

    def keep(self, waiting: Waiting, *, sync: bool) -> None:
        self.out.append(Keep(waiting.question, waiting.backs[0], sync))
