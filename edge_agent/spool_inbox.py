"""The spool's inbox: what waits to be written, gathered so that one write to the disk serves many questions.

A group is taken at once when somebody waits for it (a synced question, an answer to be recorded), when it is large
enough, or when its oldest order has waited long enough. While the disk works, the next group gathers: a slow disk gets
larger groups.
"""

from __future__ import annotations

from collections import deque
from threading import Condition
from time import monotonic
from typing import Any, NamedTuple

MOST_AT_ONCE = 1024
"""Orders in one group: bounds the write-ahead log, and how long a synced question can wait for others."""


class Order(NamedTuple):
    """One thing to do, and how many bytes it holds in memory meanwhile."""

    what: Any
    bytes: int


class Inbox:
    """Filled by any thread, emptied by one."""

    def __init__(self, commit_every: int, commit_within_s: float, most_bytes: int, most_orders: int) -> None:
        self._commit_every = max(1, commit_every)
        self._commit_within_s = commit_within_s
        self._most_bytes = most_bytes
        self._most_orders = most_orders
        self._orders: deque[Order] = deque()
        self._bytes = 0
        self._urgent = False
        self._oldest_at = 0.0
        self._closed = False
        self._asleep = self._drowsy = False
        self._changed = Condition()

    def put(self, what: Any, *, size_bytes: int = 0, urgent: bool = False, refusable: bool = False) -> bool:
        """False where it is closed, or (if it may be refused) too far behind to take more."""
        with self._changed:
            if self._closed or (refusable and self._full(size_bytes)):
                return False
            if not self._orders:
                self._oldest_at = monotonic()
            self._orders.append(Order(what, size_bytes))
            self._bytes += size_bytes
            self._urgent = self._urgent or urgent
            if self._urgent or self._asleep or len(self._orders) == self._commit_every:
                self._changed.notify()
            return True

    def take(self, wait_s: float) -> list[Any] | None:
        """The next group; an empty one when nothing came for `wait_s`; None when it is closed and all was taken."""
        with self._changed:
            self._wait_for_the_first(wait_s)
            while not self._ready():
                self._changed.wait(max(0.0, self._oldest_at + self._commit_within_s - monotonic()))
            if self._closed and not self._orders:
                return None
            return self._next_group()

    def _wait_for_the_first(self, wait_s: float) -> None:
        """Where a group has just been taken the next order is likely soon. It needs to wake nobody: who put it has
        something better to do, and the order would wait for others in any case."""
        if self._drowsy and not self._orders and not self._closed:
            self._changed.wait(min(wait_s, self._commit_within_s))
        self._asleep = True
        self._changed.wait_for(lambda: self._orders or self._closed, wait_s)
        self._asleep = False
        self._drowsy = bool(self._orders)

    def close(self) -> None:
        """Nothing more goes in; what is in can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _full(self, more_bytes: int) -> bool:
        return self._bytes + more_bytes > self._most_bytes or len(self._orders) >= self._most_orders

    def _ready(self) -> bool:
        return (
            not self._orders
            or self._closed
            or self._urgent
            or len(self._orders) >= self._commit_every
            or monotonic() >= self._oldest_at + self._commit_within_s
        )

    def _next_group(self) -> list[Any]:
        """All of them in one go, where they are not too many: who puts meanwhile waits for the lock."""
        if len(self._orders) <= MOST_AT_ONCE:
            taken, self._orders, self._bytes, self._urgent = self._orders, deque(), 0, False
            return [order.what for order in taken]
        group = [self._orders.popleft() for _ in range(MOST_AT_ONCE)]
        self._bytes -= sum([order.bytes for order in group])
        return [order.what for order in group]
