"""Answers for askers that have a name: kept for them in memory while they are away, within bounds.

An asker without a name that goes away has nobody to come back for its answers. One with a name has them kept under its
name and user, and gets them when it comes again. What a crash of the agent must not lose is in the spool, not here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from cascade.messages import Answer

MAX_MAILBOXES = 64
MAX_LETTERS = 256
MAX_SLIPS = 65_536
"""About 30 MB."""


class Letter(NamedTuple):
    """An answer that was not taken yet."""

    back: str
    answer: Answer
    sent: bool


class Mailboxes:
    """By name; the one that was used longest ago makes room for a new one."""

    def __init__(self) -> None:
        self._boxes: OrderedDict[str, OrderedDict[str, Letter]] = OrderedDict()
        self._slips: OrderedDict[tuple[str, str], Letter] = OrderedDict()
        """Of letters that were sent and did not fit: enough to know what an acknowledgement is about."""
        self.dropped = 0
        """Letters that did not fit. Those of synced streams are in the spool still, and come after the next start."""

    def put(self, who: str, letter: Letter) -> None:
        box = self._boxes.setdefault(who, OrderedDict())
        self._boxes.move_to_end(who)
        box[letter.answer.id] = letter
        box.move_to_end(letter.answer.id)
        if len(box) > MAX_LETTERS:
            self._give_up(who, box.popitem(last=False)[1])
        if len(self._boxes) > MAX_MAILBOXES:
            longest_unused, box = self._boxes.popitem(last=False)
            for given_up in box.values():
                self._give_up(longest_unused, given_up)

    def _give_up(self, who: str, letter: Letter) -> None:
        if not letter.sent:
            self.dropped += 1
            return
        slip = msgspec.structs.replace(letter.answer, prediction=None, trail=())
        self._slips[who, letter.answer.id] = letter._replace(answer=slip)
        if len(self._slips) > MAX_SLIPS:
            self._slips.popitem(last=False)
            self.dropped += 1

    def take(self, who: str, question_id: str) -> Letter | None:
        """The letter, or its slip: a client that acknowledges late may have been sent more than a box holds."""
        box = self._boxes.get(who)
        letter = box.pop(question_id, None) if box is not None else None
        if not box:
            self._boxes.pop(who, None)
        return letter if letter is not None else self._slips.pop((who, question_id), None)

    def of(self, who: str) -> list[Letter]:
        return list(self._boxes.get(who, {}).values())
