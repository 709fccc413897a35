"""The last answers that were given, kept so that somebody can ask why.

References to what exists anyway: keeping one is an append. Looked through only when somebody asks, which is seldom.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cascade.errors import NotKept
from cascade.inference.explaining import Explanation, explain
from cascade.messages import Answer


class KeptAnswers:
    """Provisional and final ones, in the order in which they were given; the oldest make way."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._given: deque[Answer] = deque(maxlen=most)
        self.keep: Callable[[Answer], None] = self._given.append

    def __len__(self) -> int:
        return len(self._given)

    def of(self, question_id: str) -> list[Answer]:
        """All that was given to one question and is still kept; nothing where none is."""
        return [answer for answer in self._given if answer.id == question_id]

    def last(self, count: int) -> list[list[Answer]]:
        """What was given to the last so many questions, the newest last."""
        found: dict[str, list[Answer]] = {}
        for answer in reversed(self._given):
            if answer.id in found:
                found[answer.id].append(answer)
            elif len(found) < count:
                found[answer.id] = [answer]
        return [given[::-1] for given in reversed(found.values())]

    def explain(self, question_id: str) -> Explanation:
        given = self.of(question_id)
        if not given:
            raise NotKept(
                f"no answer to question {question_id} is kept: the last {len(self)} of at most {self.most} are "
                "(limits.answers_explained)"
            )
        return explain(given)
