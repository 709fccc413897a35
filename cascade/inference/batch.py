"""The questions that wait for one stage, the most valuable first, and the batch that is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cascade.messages import HIGHEST_PRIORITY, Key

Chance = Callable[[Key], bool | None]
"""Whether a question can still be run by its deadline; None where it has left."""

SLACK = 1024


class StageQueue:
    """One batch at a time: while it runs others gather, so batches grow with the load, and none waits to be filled.

    Who would come too late makes way for who would not: served strictly in turn, a stage with a little too much to do
    would run each question just after its deadline, and answer none.
    """

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch
        self.running: int | None = None
        self._waiting: list[deque[Key]] = [deque() for _ in range(HIGHEST_PRIORITY + 1)]
        self._late: deque[Key] = deque()
        self._alone: deque[Key] = deque()
        self._prune_at = SLACK
        self.size = 0

    def add(self, key: Key, priority: int) -> None:
        self.size += 1
        self._waiting[priority].append(key)

    def add_alone(self, key: Key) -> None:
        """To be run as a batch of its own: it was in one that failed, and one of them is to blame."""
        self.size += 1
        self._alone.append(key)

    @property
    def idle(self) -> bool:
        """Nobody waits here, and nothing is under way."""
        return self.size == 0 and self.running is None

    @property
    def ready(self) -> bool:
        return self.size > 0 and self.running is None

    def next_batch(self, chance: Chance) -> tuple[Key, ...]:
        """Empty where all have left. The late fill up a batch that is not full: the newest of them first."""
        batch = self._next_alone(chance) if self._alone else []
        return tuple(batch or self._next_of_all(chance))

    def _next_alone(self, chance: Chance) -> list[Key]:
        while self._alone:
            key = self._alone.popleft()
            self.size -= 1
            if chance(key) is not None:
                return [key]
        return []

    def _next_of_all(self, chance: Chance) -> list[Key]:
        batch: list[Key] = []
        for queue in reversed(self._waiting):
            while queue and len(batch) < self.max_batch:
                key = queue.popleft()
                in_time = chance(key)
                if in_time is False:
                    self._late.append(key)
                    continue
                self.size -= 1
                if in_time:
                    batch.append(key)
        while self._late and len(batch) < self.max_batch:
            key = self._late.pop()
            self.size -= 1
            if chance(key) is not None:
                batch.append(key)
        return batch

    @property
    def crowded(self) -> bool:
        """So many wait that it is worth to look who has left: time to `prune`."""
        return self.size >= self._prune_at

    def prune(self, chance: Chance) -> None:
        """Throw out those who have left: while a model hangs, no batch would do it."""
        for queue in (*self._waiting, self._late, self._alone):
            staying = [key for key in queue if chance(key) is not None]
            queue.clear()
            queue.extend(staying)
        self.size = sum(map(len, self._waiting)) + len(self._late) + len(self._alone)
        self._prune_at = 2 * self.size + SLACK
