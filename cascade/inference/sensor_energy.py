"""How long a sensor was on and off, and the joules of both: a cheap sensor that wakes an expensive one must be worth
what it costs itself. An estimate: the watts are settings, from a data sheet or a meter on the bench.
"""

from __future__ import annotations

from typing import NamedTuple


class SensorSpent(NamedTuple):
    """In one state."""

    seconds: float
    joules: float


class SensorEnergy:
    """One sensor's. Begins off."""

    def __init__(self, watts_on: float, watts_off: float) -> None:
        self.switches = 0
        """How often it was switched on."""
        self.known = watts_on > 0.0 or watts_off > 0.0
        """Watts that nobody set are not nought: nothing is said of joules then."""
        self._watts = (watts_off, watts_on)
        self._seconds = [0.0, 0.0]
        self._on = False
        self._since: float | None = None

    def begin(self, now: float, on: bool) -> None:
        """The clock runs from here."""
        self._since, self._on = now, on

    def switched(self, on: bool, now: float) -> None:
        if on is not self._on:
            self._note(now)
            self._on = on
            self.switches += on

    def end(self, now: float) -> None:
        """Nobody counts any more."""
        self._note(now)
        self._since = None

    def spent(self, on: bool, now: float) -> SensorSpent:
        running = now - self._since if self._since is not None and on is self._on else 0.0
        seconds = self._seconds[on] + max(0.0, running)
        return SensorSpent(seconds, seconds * self._watts[on])

    def _note(self, now: float) -> None:
        if self._since is not None:
            self._seconds[self._on] += max(0.0, now - self._since)
            self._since = now
