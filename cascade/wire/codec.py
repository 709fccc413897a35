"""Messages on the wire: `Up`, `Down` and the retained ones. The same bytes go over MQTT and gRPC.

A message with a bad question in it is not thrown away: `decode_up` gives the good questions, and for each bad one its
fault and, where the question's own name can be read, the refusal that its asker is owed. `decode_questions` is for
those who want all or nothing: it raises the first fault. Only what is wrong with the message as a whole raises in
both: too many bytes or words, another version, not protobuf. Fields that are not known here are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cascade.errors import PeerError
from cascade.inference.events import Unsendable
from cascade.messages import Answer, Key, Outcome, Question
from cascade.wire.answer_words import read_answer, write_answer
from cascade.wire.content import compressed, raw_data
from cascade.wire.frames import FRAME_BYTES, framed_bytes, read_frame, write_frame
from cascade.wire.limits import FAULT_KINDS, USUAL, Limits, check_text
from cascade.wire.question_words import read_question, refusal_of, refusal_of_unread, write_question
from cascade.wire.retained import Presence, Sample, decode_metrics, decode_presence, encode_metrics, encode_presence

__all__ = [
    "FAULT_KINDS", "Down", "Limits", "Presence", "Sample", "Up", "answer_packs", "compressed", "decode_answers",
    "decode_down", "decode_metrics", "decode_presence", "decode_questions", "decode_up", "encode_answers",
    "encode_down", "encode_metrics", "encode_presence", "encode_questions", "encode_up", "packs", "raw_data",
    "refusal_of",
]  # fmt: skip

TOO_LARGE = "too_large"
"""The reason in `Unsendable`, and in the refusal that takes the place of an answer that no message can hold."""
UNWRITABLE = "unwritable"


class Up(NamedTuple):
    """What a message up said."""

    questions: tuple[Question, ...] = ()
    faults: tuple[PeerError, ...] = ()
    refusals: tuple[Answer, ...] = ()
    """For those of the bad questions that can be answered at all."""
    hello: str = ""
    ping: int = 0


class Down(NamedTuple):
    """What a message down said."""

    answers: tuple[Answer, ...] = ()
    faults: tuple[PeerError, ...] = ()
    welcome: str = ""
    pong: int = 0


def encode_up(questions: Sequence[Question] = (), hello: str = "", ping: int = 0) -> bytes:
    return write_frame([write_question(question) for question in questions], hello, ping)


def encode_questions(questions: Sequence[Question]) -> bytes:
    return encode_up(questions)


def decode_up(data: bytes, limits: Limits = USUAL) -> Up:
    frame = read_frame(data, limits.max_message_bytes, limits.max_questions, limits.max_question_bytes)
    hello = check_text("hello", frame.greeting, limits.max_text)
    questions, faults, refusals = [], [], []
    for word in frame.words:
        try:
            questions.append(read_question(word, limits))
        except PeerError as fault:
            faults.append(_told(fault))
            refused = refusal_of_unread(word, limits)
            if refused is not None:
                refusals.append(refused)
    return Up(tuple(questions), tuple(faults), tuple(refusals), hello, frame.heartbeat)


def decode_questions(data: bytes, limits: Limits = USUAL) -> list[Question]:
    """All of the message's questions, or the first fault."""
    frame = read_frame(data, limits.max_message_bytes, limits.max_questions, limits.max_question_bytes)
    return [read_question(word, limits) for word in frame.words]


def encode_down(answers: Sequence[Answer] = (), welcome: str = "", pong: int = 0) -> bytes:
    return write_frame([write_answer(answer) for answer in answers], welcome, pong)


def encode_answers(answers: Sequence[Answer]) -> bytes:
    return encode_down(answers)


def decode_down(data: bytes, limits: Limits = USUAL) -> Down:
    frame = read_frame(data, limits.max_message_bytes, limits.max_answers, limits.max_answer_bytes)
    welcome = check_text("welcome", frame.greeting, limits.max_text)
    answers, faults = [], []
    for word in frame.words:
        try:
            answers.append(read_answer(word, limits))
        except PeerError as fault:
            faults.append(_told(fault))
    return Down(tuple(answers), tuple(faults), welcome, frame.heartbeat)


def decode_answers(data: bytes, limits: Limits = USUAL) -> list[Answer]:
    """All of the message's answers, or the first fault."""
    down = decode_down(data, limits)
    if down.faults:
        raise down.faults[0]
    return list(down.answers)


def packs(
    questions: Sequence[Question],
    max_bytes: int,
    max_count: int = USUAL.max_questions,
    *,
    max_question_bytes: int = USUAL.max_question_bytes,
    unsendable: list[Unsendable],
) -> Iterator[tuple[bytes, tuple[Key, ...]]]:
    """The questions in as few messages as the bounds allow, in their order, each with the keys of what is in it.

    What no message can hold goes into `unsendable`, for the caller to post, and harms no other.
    """
    bound = min(max_bytes - FRAME_BYTES, max_question_bytes + framed_bytes(b"") + 4)
    words: list[bytes] = []
    keys: list[Key] = []
    size = FRAME_BYTES
    for question in questions:
        try:
            word = write_question(question)
        except (TypeError, ValueError):
            unsendable.append(Unsendable(question.key, UNWRITABLE))
            continue
        more = framed_bytes(word)
        if len(word) > max_question_bytes or more > bound:
            unsendable.append(Unsendable(question.key, TOO_LARGE))
            continue
        if len(words) == max_count or size + more > max_bytes:
            yield write_frame(words), tuple(keys)
            words, keys, size = [], [], FRAME_BYTES
        words.append(word)
        keys.append(question.key)
        size += more
    if words:
        yield write_frame(words), tuple(keys)


def answer_packs(
    answers: Sequence[Answer],
    max_bytes: int,
    max_count: int = USUAL.max_answers,
    *,
    max_answer_bytes: int = USUAL.max_answer_bytes,
) -> Iterator[bytes]:
    """The answers in as few messages as the bounds allow. What no message can hold becomes a refusal that says so."""
    words: list[bytes] = []
    size = FRAME_BYTES
    for answer in answers:
        word = write_answer(answer)
        if len(word) > max_answer_bytes or FRAME_BYTES + framed_bytes(word) > max_bytes:
            word = write_answer(_instead_of(answer))
        more = framed_bytes(word)
        if len(words) == max_count or size + more > max_bytes:
            yield write_frame(words)
            words, size = [], FRAME_BYTES
        words.append(word)
        size += more
    if words:
        yield write_frame(words)


def _told(fault: PeerError) -> PeerError:
    """Without its traceback, which would keep the bad message and all that was parsed of it in memory."""
    fault.__context__ = None
    return fault.with_traceback(None)


def _instead_of(answer: Answer) -> Answer:
    return Answer(
        id=answer.id,
        device=answer.device,
        digest=answer.digest,
        stream=answer.stream,
        sequence=answer.sequence,
        task=answer.task,
        release=answer.release,
        outcome=Outcome.REFUSED,
        reason=TOO_LARGE,
        provisional=answer.provisional,
        correction=answer.correction,
    )
