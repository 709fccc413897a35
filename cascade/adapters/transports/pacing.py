"""How many bytes may be on their way at once, so that a heartbeat is never long behind them.

On a slow line everything that is written at once waits in somebody's buffers, and the heartbeat behind it: the link
seems dead, is dropped, and all is sent again, for ever (at 0.5 Mbit/s and 256 questions in flight: not one answer in
25 s). So every few kilobytes carry a ping. As a stream keeps its order, its pong proves that all before it has arrived,
and the time it took says whether the line can take more. As in TCP, but seen from the application, end to end.
"""

from __future__ import annotations

from collections import deque

FIRST_BYTES = 32 * 1024
LEAST_BYTES = 8 * 1024
MOST_BYTES = 4 * 2**20


class Pace:
    """One stream's window. Between streams it stays: the line is the same."""

    def __init__(self, patience_s: float) -> None:
        self.window_bytes = float(FIRST_BYTES)
        self._long_s = patience_s / 4
        self._short_s = patience_s / 8
        self._pings = 0
        self._sent = 0
        self._proven = 0
        self._pinged = 0
        self._under_way: deque[tuple[int, int, float, bool]] = deque()
        """Ping, bytes sent up to it, when, and whether the window was what held us back."""

    @property
    def unproven_bytes(self) -> int:
        return self._sent - self._proven

    @property
    def is_open(self) -> bool:
        return self.unproven_bytes < self.window_bytes

    def ping(self, now: float) -> int:
        """The number of a ping that goes with what was counted last."""
        self._pings += 1
        self._pinged = self._sent
        self._under_way.append((self._pings, self._sent, now, self.unproven_bytes >= self.window_bytes / 2))
        return self._pings

    def sending(self, size: int, now: float) -> int:
        """Count a message; the ping that it has to carry, or 0."""
        self._sent += size
        return self.ping(now) if self._sent - self._pinged >= self.window_bytes / 4 else 0

    def pong(self, number: int, now: float) -> None:
        """A number that was never sent says nothing."""
        while self._under_way and self._under_way[0][0] <= number <= self._pings:
            pinged, self._proven, since, was_held = self._under_way.popleft()
            if pinged == number:
                self._adjust(now - since, was_held)

    def lost(self) -> None:
        """A new stream. What had not arrived on the old one may have been too much."""
        if self.unproven_bytes:
            self.window_bytes = max(LEAST_BYTES, self.window_bytes / 2)
        self._sent = self._proven = self._pinged = 0
        self._under_way.clear()

    def _adjust(self, took_s: float, was_held: bool) -> None:
        """A window that was not used up was not proved right either: it grows no further."""
        if took_s > self._long_s:
            self.window_bytes = max(LEAST_BYTES, self.window_bytes * max(0.25, self._long_s / took_s))
        elif was_held and took_s < self._short_s:
            self.window_bytes = min(MOST_BYTES, self.window_bytes * 2)
