"""What happens on a stream before there is a question: triggers, windows, patience, cool-down, pre-roll, waking others.

`Sampled → Look | Ask | SensorOn | SensorOff`. Each sample is heard by a trigger, if there is one; at each window in
which that heard something a model looks, if there is one; when it saw something often enough in a row, there is a
question. What is dropped here has no id and no record: it is counted, and gone. What can't be read is never nothing: a
look that failed is a reason to ask, and numbers that are none begin everything anew.
"""

from __future__ import annotations

import math

from cascade.errors import BadInput
from cascade.inference.triggers import Trigger
from cascade.inference.watch_hearing import Hearing, finite
from cascade.inference.watch_memory import Memory
from cascade.inference.watch_thread import Looks, Thread
from cascade.inference.watch_words import (
    Ask,
    Interrupted,
    Looked,
    Sampled,
    SensorOff,
    SensorOn,
    Tensors,
    WatchCounts,
    WatchEffect,
    WatchEvent,
    WatchSettings,
)

MOST_BEHIND = 64
"""Windows that may wait for the model. Over this the oldest are skipped."""
FEW_BEHIND = 8
VOID = -1
"""In place of the end of a window: it lies before a gap, or too long ago, and what the model says is not heard."""


class Watch:
    """One stream's memory."""

    def __init__(self, settings: WatchSettings, trigger: Trigger | None = None, looks: Looks | None = None) -> None:
        self.settings = settings
        self.counts = WatchCounts()
        self._hearing = Hearing(trigger, self._hold(looks is not None), self.counts)
        self._thread = Thread(looks, settings, self.counts) if looks is not None else None
        self._memory = Memory(settings.by == "row")
        self._before = settings.pre_roll + settings.window
        """Nothing is looked at before so much is there: each question is as long as every other."""
        self._next = self._before
        """Where the next window ends."""
        self._looking: int | None = None
        """Where the window ends that the model was given."""
        self._due: int | None = None
        """Where the question ends that waits for what comes after its window."""
        self._in_a_row = 0
        self._told = False
        """Since something came, there has been a question."""
        self._cool_until = -math.inf
        self._awake_until: float | None = None

    def handle(self, event: WatchEvent, now: float) -> list[WatchEffect]:
        effects: list[WatchEffect] = []
        if isinstance(event, Sampled):
            self._sampled(event.tensors)
        elif isinstance(event, Looked):
            self._looked(event, now, effects)
        elif isinstance(event, Interrupted):
            self._begin_anew()
        self._look(now, effects)
        self._ask_what_is_due(effects)
        self._sleep(now, effects)
        return effects

    @property
    def wakes_at(self) -> float | None:
        return self._awake_until

    @property
    def looking(self) -> bool:
        """A model has a window."""
        return self._looking is not None

    @property
    def crowded(self) -> bool:
        """So many windows wait for the model that a sensor should wait with the next sample, if it can."""
        return self._looking is not None and self._memory.end - self._next >= FEW_BEHIND * self.settings.step

    def _hold(self, looks: bool) -> int:
        """What was heard is in the windows of a model for as long as they are."""
        return (self.settings.window if looks else 0) if self.settings.hold is None else self.settings.hold

    def _sampled(self, tensors: Tensors) -> None:
        try:
            if not finite(tensors):
                self.counts.bad["not_finite"] += 1
                self._begin_anew()
                return
            self._memory.take(tensors)
        except BadInput:
            self.counts.bad["misfit"] += 1
            self._begin_anew()
            return
        self._hearing.hear(tensors, self._memory.end)
        self._skip()
        self._memory.let_go(self._wanted_from())

    def _begin_anew(self) -> None:
        """What comes next doesn't follow on what came before: no window, no state and no question spans the gap."""
        self._memory.forget()
        self._next = self._memory.end + self._before
        self._looking = VOID if self._looking is not None else None
        self._due, self._in_a_row = None, 0
        self._hearing.forget()
        if self._thread is not None:
            self._thread.lose()

    def _skip(self) -> None:
        """The model is too slow for this stream: what is new is worth more than what is old."""
        step = self.settings.step
        behind = (self._memory.end - self._next) // step - MOST_BEHIND
        if self._looking is None or behind <= 0:
            return
        self.counts.skipped += behind
        self._next += behind * step
        if self._next - self._looking > 2 * MOST_BEHIND * step:
            self._looking = VOID  # it may hang: what was to be asked is not kept for ever

    def _wanted_from(self) -> int:
        """What lies before is not needed any more."""
        begins = [self._next - self._before]
        if self._looking is not None and self._looking != VOID:
            begins.append(self._looking - self._before)
        if self._due is not None:
            begins.append(self._due - self._length)
        if self._thread is not None and self._thread.wants_from is not None:
            begins.append(max(self._thread.wants_from, self._next - self._before - self.settings.step))
        return min(begins)

    @property
    def _length(self) -> int:
        """Of a question."""
        return self._before + self.settings.post_roll

    def _look(self, now: float, effects: list[WatchEffect]) -> None:
        while self._looking is None and self._memory.end >= self._next:
            end, self._next = self._next, self._next + self.settings.step
            something = self._hearing.something(end)
            if self._memory.end < self._next:
                self._hearing.window_ended()
            if something and self._thread is not None:
                self._looking = end
                self.counts.looks += 1
                effects.append(self._thread.look(self._memory, end))
            else:
                self._judge(something, end, now, effects)

    def _looked(self, event: Looked, now: float, effects: list[WatchEffect]) -> None:
        end, self._looking = self._looking, None
        if end is None or self._thread is None:
            return
        if end == VOID:
            self._thread.lose()
            return
        self._judge(self._thread.saw_something(event), end, now, effects)

    def _judge(self, something: bool, end: int, now: float, effects: list[WatchEffect]) -> None:
        if not something:
            self._in_a_row, self._told = 0, False
            self.counts.dropped += 1
            return
        self._in_a_row += 1
        if self._in_a_row < self.settings.patience:
            return
        self._wake(now, effects)
        if now >= self._cool_until and self._due is None and not (self.settings.once and self._told):
            self._in_a_row, self._told = 0, True
            self._cool_until = now + self.settings.cool_down_s
            self._due = end + self.settings.post_roll
            self._ask_what_is_due(effects)

    def _ask_what_is_due(self, effects: list[WatchEffect]) -> None:
        if self._due is not None and self._memory.end >= self._due:
            due, self._due = self._due, None
            self.counts.asked += 1
            effects.append(Ask(self._memory.cut(due - self._length, due)))

    def _wake(self, now: float, effects: list[WatchEffect]) -> None:
        if not self.settings.wakes:
            return
        if self._awake_until is None:
            effects.append(SensorOn(self.settings.wakes))
        self._awake_until = now + self.settings.awake_s

    def _sleep(self, now: float, effects: list[WatchEffect]) -> None:
        if self._awake_until is not None and now >= self._awake_until:
            self._awake_until = None
            effects.append(SensorOff(self.settings.wakes))
