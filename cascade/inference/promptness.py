"""How long the hop above takes to answer, learned from what was asked: whether an answer could still come in time.

Times fall into cells, each a seventh longer than the one before, from one millisecond to a minute. An ask that ended
without an answer says something too: that it takes longer than was waited, and nothing of longer waits. What is known
grows old by newer times, and where nothing is asked any more by what was not asked. Every now and then one is tried all
the same, because a link that was slow may have become quick, and a hop that was dead alive. Two hundred numbers in all.
"""

from __future__ import annotations

from bisect import bisect_right

FIRST_S, GROWTH, CELLS = 0.001, 8.0 / 7.0, 84
EDGES_S = tuple(FIRST_S * GROWTH**cell for cell in range(CELLS))
LEAST_KNOWN = 4.0
"""Asks that say something of a wait before it is believed to be in vain. Fewer than failures that open a breaker."""
MOST_KNOWN = 128.0
"""With more, all count half: about so many are remembered."""
LOOKED_AT_EVERY = 4
"""New times between two looks at what they mean; of many known ones, an eighth of them."""
FORGETS_EVERY, FORGETS = 16, 0.94
"""What was not asked makes what is known older: after some 200 of them nothing is known any more."""
TRIES_EVERY_S = 10.0
"""Without news for so long, one is tried: a stream that asks seldom would wait for ever for the 200."""
SURPRISED, ELSEWHERE = 0.5, 0.25
"""What is left of what was known when an answer comes sooner than was thought possible; and on another link."""


class Promptness:
    """Of one hop above, for all tasks alike: it is the way that takes the time, or the queue at its end."""

    def __init__(self) -> None:
        self._answered = [0.0] * (CELLS + 1)
        self._waited = [0.0] * (CELLS + 1)
        """Without an answer: at least so long."""
        self._known = 0.0
        self._new = self._not_asked = 0
        self._news_at = 0.0
        self._least_s: dict[float, float] = {}
        """By the chance that is worth it: how much time must be left. Worked out when it is asked for."""

    def answered(self, took_s: float, now: float) -> None:
        if self._least_s and took_s < min(self._least_s.values()):
            self._forget(SURPRISED)
        self._note(self._answered, took_s, now)

    def unanswered(self, waited_s: float, now: float) -> None:
        self._note(self._waited, waited_s, now)

    def link_up(self) -> None:
        self._forget(ELSEWHERE)

    def is_vain(self, left_s: float, worth: float, now: float) -> bool:
        """Whether the chance of an answer within the time left is smaller than is worth asking for."""
        least_s = self._least_s.get(worth)
        if least_s is None:
            least_s = self._least_s[worth] = self._least(worth)
        if left_s >= least_s:
            return False
        if now - self._news_at >= TRIES_EVERY_S:
            self._news_at = now
            return False
        self._not_asked += 1
        if self._not_asked >= FORGETS_EVERY:
            self._not_asked = 0
            self._forget(FORGETS)
        return True

    def chance_within(self, left_s: float) -> float | None:
        """None: too little is known of so long a wait."""
        cell = bisect_right(EDGES_S, left_s)
        in_time = sum(self._answered[:cell])
        informed = sum(self._answered) + sum(self._waited[cell:])
        return in_time / informed if informed >= LEAST_KNOWN else None

    def usual_s(self) -> float | None:
        """Within this time half of the answers came; for those who look."""
        answered = sum(self._answered)
        below = 0.0
        for edge_s, count in zip(EDGES_S, self._answered, strict=False):
            below += count
            if answered >= LEAST_KNOWN and below >= answered / 2.0:
                return edge_s
        return None

    def _note(self, cells: list[float], time_s: float, now: float) -> None:
        self._news_at = now
        cells[bisect_right(EDGES_S, time_s)] += 1.0
        self._known += 1.0
        self._new += 1
        if self._known > MOST_KNOWN:
            self._forget(0.5)
        elif self._new >= max(LOOKED_AT_EVERY, self._known / 8.0):
            self._least_s.clear()
            self._new = 0

    def _least(self, worth: float) -> float:
        """Where waiting begins to be worth it: the first wait that is not known to be in vain."""
        in_time, informed = 0.0, sum(self._answered) + sum(self._waited)
        for left_s, answered, waited in zip((0.0, *EDGES_S), self._answered, self._waited, strict=True):
            if informed < LEAST_KNOWN or in_time >= worth * informed:
                return left_s
            in_time += answered
            informed -= waited
        return EDGES_S[-1]

    def _forget(self, keep: float) -> None:
        self._answered = [count * keep for count in self._answered]
        self._waited = [count * keep for count in self._waited]
        self._known *= keep
        self._new = 0
        self._least_s.clear()
