"""What a hop knows of a question's hidden features. The numbers themselves stay with the engine that made them.

Which hop above lacks the continuation shows when it answers `need_input`. Then the input is sent, and for a while no
hidden features of this task and release: a hop that gets the continuation meanwhile is found out again.
"""

from __future__ import annotations

from collections import OrderedDict

NEED_INPUT = "need_input"
"""The reason in the refusal of a hop that has not what goes on from a question's hidden features."""

TRY_AGAIN_S = 60.0
MOST_LACKING = 256

SENT, SENT_BOTH = "hidden", "hidden, input"
"""In a trail, of a step after which they went up; after `need_input` the input went as well."""


class Hidden:
    """Of one question: the engine holds something."""

    __slots__ = ("sendable", "sent")

    def __init__(self) -> None:
        self.sendable = ""
        """The stage whose features may go up. Empty: none may."""
        self.sent = ""


class Lacking:
    """Which tasks and releases the hop above can't go on with, as far as it has said so lately."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def note(self, task: str, release: str, now: float) -> None:
        self._until[task, release] = now + TRY_AGAIN_S
        self._until.move_to_end((task, release))
        if len(self._until) > MOST_LACKING:
            self._until.popitem(last=False)

    def holds(self, task: str, release: str, now: float) -> bool:
        return bool(self._until) and self._until.get((task, release), now) > now

    def forget(self) -> None:
        """The link is new: it may lead to another hop."""
        self._until.clear()
