"""Audits: a small random share of what a hop would have settled alone is asked above as well, to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b

from cascade.inference.agreement import Agreements
from cascade.inference.effects import RecordAudit
from cascade.messages import Answer, Key, Outcome, Prediction, Question, Verdict, Word


class Dice:
    """Chance that a journal can repeat: a keyed hash of who asks, what for, and which question."""

    def __init__(self, seed: bytes, hop: str) -> None:
        self._seed = blake2b(seed, digest_size=32).digest()
        self._hop = hop

    def roll(self, purpose: str, question_id: str) -> float:
        """Even over [0, 1), and the same each time for the same words."""
        said = f"{self._hop}\0{purpose}\0{question_id}".encode()
        return int.from_bytes(blake2b(said, key=self._seed, digest_size=8).digest(), "big") / 2.0**64


class Audit(Word, frozen=True, gc=False):
    """One that is under way: what this hop had said, and until when it waits."""

    question: Question
    verdict: Verdict
    prediction: Prediction | None
    until: float


class Audits:
    """Held in memory alone, and bounded: what is lost of them lowers their coverage, which is counted."""

    def __init__(self, share: float, most: int, dice: Dice) -> None:
        self.share = share
        self._most = most
        self._dice = dice
        self._open: dict[Key, Audit] = {}
        self.agreements = Agreements()
        self.ended: Callable[[RecordAudit], None] = lambda record: None
        """Told of each audit that ended."""

    def chosen(self, question_id: str) -> bool:
        return self.share > 0.0 and self._dice.roll("audit", question_id) < self.share

    def begin(self, audit: Audit) -> bool:
        """False where there are too many: then it is a missed one."""
        if len(self._open) >= self._most:
            return False
        self._open[audit.question.key] = audit
        return True

    def question(self, key: Key) -> Question | None:
        audit = self._open.get(key)
        return audit.question if audit is not None else None

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    def settle(self, answer: Answer) -> RecordAudit:
        """The hop above answered, or refused. A provisional answer is a guess: nothing to compare with."""
        audit = self._open.pop(answer.key)
        return self.record(audit, _agreement(audit, answer))

    def missed(self, key: Key) -> RecordAudit:
        return self.record(self._open.pop(key), None)

    def record(self, audit: Audit, agreed: bool | None) -> RecordAudit:
        """Each audit ends here, once."""
        record = RecordAudit(audit.question.task, audit.verdict.value, self.share, agreed)
        self.agreements.note(record)
        self.ended(record)
        return record

    def overdue(self, now: float) -> Iterator[tuple[Key, RecordAudit]]:
        # Begun in the order of time with much the same patience each: the oldest stands first.
        while self._open:
            key, audit = next(iter(self._open.items()))
            if audit.until > now:
                return
            yield key, self.missed(key)

    @property
    def next_at(self) -> float | None:
        return next(iter(self._open.values())).until if self._open else None


def _agreement(audit: Audit, answer: Answer) -> bool | None:
    if answer.provisional or answer.outcome not in (Outcome.ANSWERED, Outcome.DROPPED):
        return None
    if audit.verdict is Verdict.DROP or answer.outcome is Outcome.DROPPED:
        return (audit.verdict is Verdict.DROP) == (answer.outcome is Outcome.DROPPED)
    if audit.prediction is None or answer.prediction is None:
        return None
    return audit.prediction.agrees(answer.prediction)
