"""A budget: a bucket of bytes or joules that fills at a steady rate, and may be overdrawn once before it refuses."""

from __future__ import annotations

from cascade.messages import Word


class Allowance(Word, frozen=True, gc=False):
    """What a budget grants. A rate of 0 means without limit."""

    per_s: float = 0.0
    burst: float = 0.0


class Budget:
    """What is spent is known only afterwards, when a message has left: so it is guessed first, and settled then."""

    def __init__(self, allowance: Allowance) -> None:
        self.per_s = allowance.per_s
        self.burst = allowance.burst or allowance.per_s
        self.level = self.burst
        self.filled_at: float | None = None

    @property
    def limited(self) -> bool:
        return self.per_s > 0.0

    def fill(self, now: float) -> None:
        if self.filled_at is not None:
            self.level = min(self.burst, self.level + (now - self.filled_at) * self.per_s)
        self.filled_at = now

    def left(self, now: float) -> float | None:
        """What could be spent now; None: without limit. Only looks: a journal's replay must not be changed by it."""
        if not self.limited:
            return None
        since = 0.0 if self.filled_at is None else now - self.filled_at
        return min(self.burst, self.level + since * self.per_s)

    def empty(self, now: float) -> bool:
        if not self.limited:
            return False
        self.fill(now)
        return self.level <= 0.0

    def has(self, amount: float, now: float) -> bool:
        """Whether so much is there: for what is known before it is spent."""
        if not self.limited:
            return True
        self.fill(now)
        return self.level >= amount

    def spend(self, amount: float) -> None:
        """May leave a debt: a message larger than the bucket still goes, and the next ones wait for it."""
        if self.limited:
            self.level -= amount

    def refills_at(self, now: float) -> float:
        """When it will grant again."""
        self.fill(now)
        return now + max(0.0, -self.level / self.per_s) + 1e-6
