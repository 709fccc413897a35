"""What an end of a link does with a message that came in: the same over every transport.

Whatever is wrong with it becomes `PeerFaulted`, and where an asker can be told, a refusal to send back.
"""

from __future__ import annotations

from collections.abc import Callable

from cascade.adapters.transports.transport import Post
from cascade.errors import PeerError
from cascade.inference.events import Answered, Asked, PeerFaulted, Received
from cascade.messages import Answer, Key
from cascade.wire.codec import Down, Up, decode_down, decode_up, refusal_of
from cascade.wire.limits import Limits

WRONG_IDENTITY = "wrong_identity"
"""The reason in the refusal of a question that its sender may not ask."""

MayAsk = Callable[[str], bool]
"""Whether this peer speaks for that device."""


def read_up(post: Post, data: bytes, limits: Limits, peer: str) -> Up | None:
    """The message, with its faults posted; None where it can't be read at all."""
    post(Received("below", len(data)))
    try:
        up = decode_up(data, limits)
    except PeerError as fault:
        faulted(post, peer, fault)
        return None
    for each in up.faults:
        faulted(post, peer, each)
    return up


def take_questions(post: Post, up: Up, peer: str, back: str, may_ask: MayAsk) -> tuple[list[Key], list[Answer]]:
    """Post what was asked; return its keys, and the refusals that are owed for the rest."""
    asked: list[Key] = []
    refused = [told for told in up.refusals if may_ask(told.device)]
    for question in up.questions:
        if may_ask(question.device):
            post(Asked(question, back))
            asked.append(question.key)
        else:
            faulted(post, peer, PeerError("identity", f"asks for {question.device}"))
            refused.append(refusal_of(question, WRONG_IDENTITY))
    return asked, refused


def take_answers(post: Post, data: bytes, limits: Limits, peer: str) -> Down | None:
    """Post what was answered, with the faults; None where the message can't be read at all."""
    post(Received("above", len(data)))
    try:
        down = decode_down(data, limits)
    except PeerError as fault:
        faulted(post, peer, fault)
        return None
    for answer in down.answers:
        post(Answered(answer))
    for each in down.faults:
        faulted(post, peer, each)
    return down


def faulted(post: Post, peer: str, fault: PeerError) -> None:
    post(PeerFaulted(peer, fault.kind, fault.detail))
