"""A circuit breaker: after some failures in a row nobody is asked for a while, then one is, to see."""

from __future__ import annotations

from enum import StrEnum

from cascade.machine import Transitions


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Sign(StrEnum):
    TOO_MANY_FAILURES = "too many failures"
    COOLED = "cooled down"
    SUCCESS = "success"
    FAILURE = "failure"


CIRCUITS = Transitions(
    {
        (Circuit.CLOSED, Sign.TOO_MANY_FAILURES): Circuit.OPEN,
        (Circuit.OPEN, Sign.COOLED): Circuit.PROBING,
        (Circuit.OPEN, Sign.SUCCESS): Circuit.CLOSED,
        (Circuit.PROBING, Sign.SUCCESS): Circuit.CLOSED,
        (Circuit.PROBING, Sign.FAILURE): Circuit.OPEN,
    }
)


class Breaker:
    """Each failed probe doubles the wait, up to a bound; a success, even a late one, closes it at once."""

    def __init__(self, failures_to_open: int, cool_s: float, cool_most_s: float) -> None:
        self._failures_to_open = failures_to_open
        self._first_cool_s, self._cool_most_s = cool_s, cool_most_s
        self._cool_s = cool_s
        self._failures = 0
        self.circuit: Circuit = Circuit.CLOSED
        self.cools_at: float | None = None

    def succeeded(self) -> None:
        self._failures = 0
        self._cool_s = self._first_cool_s
        self.cools_at = None
        if self.circuit is not Circuit.CLOSED:
            self.circuit = CIRCUITS.after(self.circuit, Sign.SUCCESS)

    def failed(self, now: float) -> None:
        self._failures += 1
        if self.circuit is Circuit.PROBING:
            self.circuit = CIRCUITS.after(self.circuit, Sign.FAILURE)
            self._cool_s = min(2.0 * self._cool_s, self._cool_most_s)
            self.cools_at = now + self._cool_s
        elif self.circuit is Circuit.CLOSED and self._failures >= self._failures_to_open:
            self.circuit = CIRCUITS.after(self.circuit, Sign.TOO_MANY_FAILURES)
            self.cools_at = now + self._cool_s

    def cool(self, now: float) -> None:
        if self.circuit is Circuit.OPEN and self.cools_at is not None and now >= self.cools_at:
            self.circuit = CIRCUITS.after(self.circuit, Sign.COOLED)
            self.cools_at = None
