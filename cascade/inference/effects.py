"""What a hop wants done, in the imperative. A shell performs it, and says how it went as an event."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from cascade.messages import Answer, Decision, Key, Outcome, Question


class Wanted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An effect."""


class RunStage(Wanted, frozen=True, gc=False):
    """Run one stage on a batch. Answered by `Predicted` or `RunFailed` with the same `run`."""

    run: int
    task: str
    release: str
    stage: str
    questions: tuple[Question, ...]


class AskAbove(Wanted, frozen=True, gc=False):
    """Send a question to the hop above. Answered by `Sent`, later perhaps by `Answered`."""

    question: Question
    hidden: str = ""
    """The stage whose hidden features may go in place of the input. Where they are smaller, and do: `Packed`."""


class FreeHidden(Wanted, frozen=True, gc=False):
    """Nothing goes on from a question's hidden features any more. Nobody answers: what isn't there is free already."""

    key: Key


class Reply(Wanted, frozen=True, gc=False):
    """Give an answer to the one who asked. A final one ends the question: only then may a spool forget it."""

    back: str
    answer: Answer


class Keep(Wanted, frozen=True, gc=False):
    """Write a question to the spool. Answered by `Kept`."""

    question: Question
    back: str
    sync: bool


class Remember(Wanted, frozen=True, gc=False):
    """Record a final answer before it is given. Answered by `Remembered`."""

    key: Key
    answer: Answer


class Park(Wanted, frozen=True, gc=False):
    """Memory is short, and this question is safe in the spool: it is read again when there is room above."""

    key: Key


class RecordDecision(Wanted, frozen=True, gc=False):
    """Count what this hop decided of a question: once per question and hop."""

    question: Question
    decision: Decision
    stage: str
    label: str


class RecordUndecided(Wanted, frozen=True, gc=False):
    """Count a question that ended here before this hop decided anything: refused, or expired."""

    question: Question
    outcome: Outcome
    reason: str


class RecordAudit(Wanted, frozen=True, gc=False):
    """Count an audit: whether the hop above agreed, or None where it gave no answer to compare with."""

    task: str
    verdict: str
    probability: float
    agreed: bool | None


class RecordStanding(Wanted, frozen=True, gc=False):
    """How the guarantee of a task's thresholds stands, where that has changed: see `cascade.inference.careful`."""

    task: str
    standing: str
    doubts: tuple[str, ...] = ()
    caution: float = 0.0


class RecordDistances(Wanted, frozen=True, gc=False):
    """How far the last questions of a task are from its reference, by quantity: now and then, for those who look."""

    task: str
    distances: dict[str, float]


Effect: TypeAlias = (
    RunStage | AskAbove | FreeHidden | Reply | Keep | Remember | Park | RecordDecision | RecordUndecided | RecordAudit
    | RecordStanding | RecordDistances
)  # fmt: skip
