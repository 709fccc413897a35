"""When to connect again: full jitter, capped, and never in a hurry after connections that did not last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SETTLED_S = 10.0
"""A connection that lasted this long was a good one: the next try begins with small delays again."""
MINUTE_S = 60.0


class Backoff:
    """Delays between attempts. `chance` gives numbers from 0 to 1; times are monotonic seconds.

    Two agents with one identity throw each other out, and each of their connects succeeds: so successes are counted
    too, and there are at most `per_minute` of them in any minute.
    """

    def __init__(self, first_s: float, most_s: float, per_minute: int, chance: Callable[[], float]) -> None:
        self._first_s, self._most_s, self._chance = first_s, most_s, chance
        self._tries = 0
        self._connects: deque[float] = deque(maxlen=per_minute)

    def connected(self, now: float) -> None:
        self._connects.append(now)

    def next_s(self, now: float, lived_s: float = 0.0, refused: bool = False) -> float:
        """How long to wait. Who was refused by name has time: the slow end at once."""
        if lived_s >= SETTLED_S:
            self._tries = 0
        ceiling_s = min(self._most_s, self._first_s * 2.0**self._tries)
        self._tries = min(self._tries + 1, 30)
        delay_s = self._most_s * (0.5 + 0.5 * self._chance()) if refused else ceiling_s * self._chance()
        return max(delay_s, self._until_another_is_due(now))

    def _until_another_is_due(self, now: float) -> float:
        if len(self._connects) < (self._connects.maxlen or 0):
            return 0.0
        return self._connects[0] + MINUTE_S - now
