"""The questions that wait for one stage, the most valuable first, and the batch that is under way."""

from __future__ import annotations

from collections import deque

from cascade.messages import HIGHEST_PRIORITY, Key


class StageQueue:
    """One batch at a time: while it runs others gather, so batches grow with the load, and none waits to be filled."""

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch
        self.running: int | None = None
        self._waiting: list[deque[Key]] = [deque() for _ in range(HIGHEST_PRIORITY + 1)]
        self._alone: deque[Key] = deque()
        self.size = 0

    def add(self, key: Key, priority: int) -> None:
        self._waiting[priority].append(key)
        self.size += 1

    def add_alone(self, key: Key) -> None:
        """To be run as a batch of its own: it was in one that failed, and one of them is to blame."""
        self._alone.append(key)
        self.size += 1

    @property
    def ready(self) -> bool:
        return self.running is None and self.size > 0

    def next_batch(self) -> tuple[Key, ...]:
        if self._alone:
            self.size -= 1
            return (self._alone.popleft(),)
        batch: list[Key] = []
        for queue in reversed(self._waiting):
            while queue and len(batch) < self.max_batch:
                batch.append(queue.popleft())
        self.size -= len(batch)
        return tuple(batch)
