"""The answers that a hop gave, for as long as a setting says: the same question gets the same answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from cascade.messages import Answer, Key

MOST_ANSWERS = 100_000
"""About 100 MB of answers with long trails; beyond it the oldest go first."""


class AnswersKept:
    """Kept in the order in which they were given, so the oldest stands first."""

    at_once = True

    def __init__(self, kept_s: float, most: int = MOST_ANSWERS, clock: Callable[[], float] = monotonic) -> None:
        self._kept_s, self._most, self._clock = kept_s, most, clock
        self._answers: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def recall(self, key: Key, known: Callable[[Answer | None], None]) -> None:
        kept = self._answers.get(key)
        known(kept[1] if kept is not None and kept[0] > self._clock() else None)

    def remember(self, key: Key, answer: Answer, done: Callable[[], None]) -> None:
        now = self._clock()
        self._answers[key] = (now + self._kept_s, answer)
        self._answers.move_to_end(key)
        self._forget_the_oldest(now)
        done()

    def _forget_the_oldest(self, now: float) -> None:
        # Ordered, because a plain dict looks ever longer for its first entry when that is taken away.
        while self._answers:
            key, (until, _) = next(iter(self._answers.items()))
            if until > now and len(self._answers) <= self._most:
                return
            del self._answers[key]
