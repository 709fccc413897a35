"""What goes from one window to the next that a model looks at: a recurrent state, smoothed scores, features.

All of it holds only while windows follow on each other. After a gap, or where a trigger left windows out, it begins
anew: a state from before would be about something else.
"""

from __future__ import annotations

from typing import NamedTuple

from cascade.inference.features.streaming import WindowFeatures
from cascade.inference.gate import Gate
from cascade.inference.smoothing import Smoothing
from cascade.inference.watch_memory import Memory
from cascade.inference.watch_words import Look, Looked, Tensors, WatchCounts, WatchSettings
from cascade.messages import Prediction, Verdict


class Looks(NamedTuple):
    """The model that looks: its gate, and its features where they can be computed as the rows come."""

    gate: Gate
    features: WindowFeatures | None = None


class Thread:
    """One stream's."""

    def __init__(self, looks: Looks, settings: WatchSettings, counts: WatchCounts) -> None:
        self._gate, self._features = looks
        self._window, self._step = settings.window, settings.step
        self._counts = counts
        self._smoothing = Smoothing(settings.smooth)
        self._carried: Tensors = {}
        self._last: int | None = None
        """Where the last window ended, while the next may follow on it."""

    @property
    def wants_from(self) -> int | None:
        """Features that are computed as the rows come must not miss one."""
        return self._last if self._features is not None else None

    def look(self, memory: Memory, end: int) -> Look:
        """At the window that ends there."""
        if self._last is None or end != self._last + self._step:
            self.lose()
        begin, last, self._last = end - self._window, self._last, end
        window = memory.cut(begin, end)
        if self._features is None:
            return Look(window, None, self._carried)
        if last is None:
            self._features.reset()
        rows = window if last is None else memory.cut(last, end)
        self._features.push(next(iter(rows.values())))
        return Look(window, self._features.next(), self._carried)

    def saw_something(self, event: Looked) -> bool:
        """What the gate answers is something; and so is what no gate can read, because nobody knows what it was."""
        if event.bad_input:
            self._counts.bad["bad_input"] += 1
            self.lose()
            return False
        self._carried = event.carried
        readable = event.prediction is not None and event.prediction.readable()
        smoothed = self._smoothing.take(event.prediction) if readable and event.prediction is not None else None
        if readable and smoothed is None:
            return False
        return self._judge(smoothed)

    def _judge(self, prediction: Prediction | None) -> bool:
        decision = self._gate.decide(prediction) if prediction is not None else None
        if decision is None or decision.reason == "unreadable":
            self._counts.failed += 1
            self.lose()
            return True
        return decision.verdict is Verdict.ANSWER

    def lose(self) -> None:
        self._last, self._carried = None, {}
        self._smoothing.forget()
