"""One alarm per question: the next moment at which something is due for it."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from cascade.messages import Key

SLACK = 1024


class Alarms:
    """A heap that throws cancelled entries out when they outnumber the living: memory follows what is open."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def set(self, key: Key, at: float) -> None:
        if self._due.get(key) == at:
            return
        self._due[key] = at
        heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._due) + SLACK:
            self._heap = [(at, key) for key, at in self._due.items()]
            heapify(self._heap)

    def __len__(self) -> int:
        return len(self._due)

    def cancel(self, key: Key) -> None:
        self._due.pop(key, None)

    def due(self, now: float) -> list[Key]:
        """Those whose moment has come, earliest first. Each rings once."""
        ringing: list[Key] = []
        while self._heap and self._heap[0][0] <= now:
            at, key = heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                ringing.append(key)
        return ringing

    @property
    def next_at(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
