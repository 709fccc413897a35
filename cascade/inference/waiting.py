"""A question's life in a hop: open, perhaps provisional, then final, expired or refused."""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum

import msgspec

from cascade.inference.alarms import Alarms
from cascade.inference.events import Asked, Durability
from cascade.inference.hidden import Hidden
from cascade.machine import Transitions
from cascade.messages import (
    HIGHEST_PRIORITY,
    Answer,
    Key,
    Outcome,
    Prediction,
    Question,
    Step,
    Word,
    answer_to,
)


class Life(StrEnum):
    OPEN = "open"
    PROVISIONAL = "provisional"
    FINAL = "final"
    EXPIRED = "expired"
    REFUSED = "refused"


class Given(StrEnum):
    """What was given to the one who asked: the trigger of each change."""

    PROVISIONAL = "provisional answer"
    FINAL = "final answer"
    EXPIRY = "expiry"
    REFUSAL = "refusal"


LIVES = Transitions(
    {
        (Life.OPEN, Given.PROVISIONAL): Life.PROVISIONAL,
        (Life.OPEN, Given.FINAL): Life.FINAL,
        (Life.OPEN, Given.EXPIRY): Life.EXPIRED,
        (Life.OPEN, Given.REFUSAL): Life.REFUSED,
        (Life.PROVISIONAL, Given.PROVISIONAL): Life.PROVISIONAL,
        (Life.PROVISIONAL, Given.FINAL): Life.FINAL,
        (Life.PROVISIONAL, Given.EXPIRY): Life.EXPIRED,
        (Life.PROVISIONAL, Given.REFUSAL): Life.REFUSED,
    }
)

_GIVEN = {
    Outcome.ANSWERED: Given.FINAL,
    Outcome.DROPPED: Given.FINAL,
    Outcome.EXPIRED: Given.EXPIRY,
    Outcome.REFUSED: Given.REFUSAL,
}

OPEN, PROVISIONAL = Life.OPEN, Life.PROVISIONAL


class Guess(Word, frozen=True, gc=False):
    """The best prediction so far, and whose it is."""

    prediction: Prediction
    label: str
    tier: str
    steps_above: tuple[Step, ...] = ()


class Waiting:
    """One question that this hop has accepted and not ended."""

    __slots__ = (
        "arrived_at",
        "backs",
        "capped",
        "deadline",
        "decided",
        "durability",
        "given",
        "guess",
        "hidden",
        "holding",
        "keep_until",
        "kept",
        "key",
        "life",
        "may_give_way",
        "question",
        "steps",
        "timing",
        "uplink_bytes",
    )

    def __init__(self, asked: Asked, key: Key, now: float, max_keep_ms: float) -> None:
        question = asked.question
        self.question: Question = question
        self.key = key
        self.backs: list[str] = [asked.back]
        self.arrived_at = now
        self.deadline = now + question.ms_left / 1000.0
        self.capped = question.keep_ms > max_keep_ms
        self.keep_until = self.deadline + (max_keep_ms if self.capped else question.keep_ms) / 1000.0
        """The question would wait longer than this hop does: it is sent back to be asked again."""
        self.timing = asked.timing
        self.durability: Durability = asked.durability
        self.kept = asked.restored
        self.holding = False
        """Waits for its own record on disk before anything is done about it."""
        self.may_give_way = False
        """It has a place among those who would make room for others."""
        self.life: Life = PROVISIONAL if asked.restored and now >= self.deadline else OPEN
        self.given: Answer | None = None
        self.guess: Guess | None = None
        self.steps: list[Step] = []
        self.decided = False
        self.uplink_bytes = 0
        self.hidden: Hidden | None = None
        """There, when the engine holds something for it."""

    @property
    def wants_corrections(self) -> bool:
        return self.keep_until > self.deadline

    def age_ms(self, now: float) -> float:
        return self.question.age_ms + (now - self.arrived_at) * 1000.0

    def give(self, answer: Answer) -> Answer:
        """Move on in life by this answer, which becomes a correction where a provisional one was given before."""
        corrects = self.life is PROVISIONAL and not answer.provisional
        self.life = LIVES.after(self.life, Given.PROVISIONAL if answer.provisional else _GIVEN[answer.outcome])
        self.given = msgspec.structs.replace(answer, correction=True) if corrects else answer
        return self.given

    def answer(self, outcome: Outcome, reason: str, *, provisional: bool = False) -> Answer:
        """An answer of this hop, with its best guess: of a question that is dropped, expired or refused too."""
        guess = self.guess
        trail = self.trail() if self.uplink_bytes else tuple(self.steps)
        if guess is None:
            return answer_to(self.question, outcome, reason, provisional=provisional, trail=trail)
        return answer_to(
            self.question, outcome, reason, guess=guess.prediction, label=guess.label, tier=guess.tier,
            provisional=provisional, trail=trail + guess.steps_above,
        )  # fmt: skip

    def trail(self) -> tuple[Step, ...]:
        if self.uplink_bytes and self.steps:
            sent = self.hidden.sent if self.hidden is not None else ""
            self.steps[-1] = msgspec.structs.replace(self.steps[-1], bytes_up=self.uplink_bytes, sent=sent)
        return tuple(self.steps)


class WaitingRoom:
    """All that are open, bounded; who may give way when it is full; and when each has something due."""

    def __init__(self, max_open: int, max_keep_ms: float) -> None:
        self.max_open = max_open
        self.max_keep_ms = max_keep_ms
        self.alarms = Alarms()
        self.open: dict[Key, Waiting] = {}
        """To be read. Who comes and goes is told by `enter` and `leave`."""
        self._by_priority = _by_priority()
        self._parkable: OrderedDict[Key, None] = OrderedDict()
        self._hoping = _by_priority()

    def __len__(self) -> int:
        return len(self.open)

    def get(self, key: Key) -> Waiting | None:
        return self.open.get(key)

    def enter(self, asked: Asked, key: Key, now: float) -> Waiting:
        waiting = Waiting(asked, key, now, self.max_keep_ms)
        self.open[key] = waiting
        self._by_priority[waiting.question.priority][key] = None
        self.alarms.set(key, waiting.deadline if waiting.life is OPEN else waiting.keep_until)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        key = waiting.key
        del self.open[key]
        del self._by_priority[waiting.question.priority][key]
        if waiting.may_give_way:
            self._forget_place(waiting)
        self.alarms.cancel(key)

    def settled(self, waiting: Waiting) -> None:
        """It was given something, or its record on disk changed: whether it may give way is seen anew."""
        if waiting.may_give_way:
            self._forget_place(waiting)
        if waiting.life is not PROVISIONAL:
            return
        if waiting.kept:  # it has had an answer, and is safe on disk
            self._parkable[waiting.key] = None
            waiting.may_give_way = True
        elif waiting.guess is not None:
            self._hoping[waiting.question.priority][waiting.key] = None
            waiting.may_give_way = True

    def _forget_place(self, waiting: Waiting) -> None:
        waiting.may_give_way = False
        self._parkable.pop(waiting.key, None)
        self._hoping[waiting.question.priority].pop(waiting.key, None)

    def crowded(self, coming: int = 0) -> bool:
        """Half full of questions that have had no answer yet, with those that come: the others would give way."""
        giving_way = len(self._parkable) + sum(map(len, self._hoping))
        return 2 * (len(self.open) - giving_way + coming) >= self.max_open

    def to_park(self) -> Waiting | None:
        """It has had its provisional answer, and is safe on disk: memory need not hold it."""
        for key in self._parkable:
            return self.open[key]
        return None

    def to_settle(self, priority: int) -> Waiting | None:
        """It has had an answer, and only hopes for a better one: a newcomer that has none is worth as much."""
        for lowest in range(priority + 1):
            for key in self._hoping[lowest]:
                return self.open[key]
        return None

    def to_shed(self, priority: int) -> Waiting | None:
        """The least valuable, if it is worth less than a newcomer of this priority."""
        for lowest in range(priority):
            for key in self._by_priority[lowest]:
                return self.open[key]
        return None


def _by_priority() -> list[OrderedDict[Key, None]]:
    """The oldest first. Ordered, because a plain dict looks ever longer for its first entry when that is taken away."""
    return [OrderedDict() for _ in range(HIGHEST_PRIORITY + 1)]
