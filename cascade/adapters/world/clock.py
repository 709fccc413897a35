"""The time of a simulated world: it stands still until the next thing happens."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush


class WorldClock:
    """What happens at the same moment happens in the order in which it was arranged."""

    def __init__(self) -> None:
        self.now = 0.0
        self._arranged: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._arranged, (max(time, self.now), self._count, happen))

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        self.at(self.now + seconds, happen)

    def run_until(self, time: float) -> None:
        while self._arranged and self._arranged[0][0] <= time:
            self.now, _, happen = heappop(self._arranged)
            happen()
        self.now = max(self.now, time)

    def run_while(self, unfinished: Callable[[], bool], at_most_s: float) -> bool:
        """Until there is nothing unfinished. False where that took more than `at_most_s` of the world's time."""
        end = self.now + at_most_s
        while unfinished():
            if not self._arranged or self._arranged[0][0] > end:
                return False
            self.now, _, happen = heappop(self._arranged)
            happen()
        return True
