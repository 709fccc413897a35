"""What goes up of a question that climbs: its input, or hidden features of it, whichever is smaller as it travels."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cascade.inference.effects import AskAbove
from cascade.inference.events import Packed
from cascade.messages import Question
from cascade.wire.content import compressed

Prepare = Callable[[Question], Question]
Sendable = Callable[[Question, str], Question | None]
"""An engine's: the question with the hidden features of a stage in place of its input."""


def smaller(wanted: AskAbove, prepare: Prepare | None, sendable: Sendable) -> tuple[Question, Packed | None]:
    """Ready to travel; and what a hop has to hear where it isn't the input. `prepare` is done to either: a hop that
    compresses nothing of its own compresses at least what it made itself."""
    question = prepare(wanted.question) if prepare is not None else wanted.question
    if not wanted.hidden:
        return question, None
    hidden = sendable(wanted.question, wanted.hidden)
    if hidden is None:
        return question, None
    hidden = prepare(hidden) if prepare is not None else zipped(hidden)
    if hidden.payload_bytes >= question.payload_bytes:
        return question, None
    return hidden, Packed(question.key, hidden.payload_bytes, question.payload_bytes)


def zipped(question: Question) -> Question:
    return msgspec.structs.replace(question, payload=compressed(question.payload))
