"""What happens on a stream before there is a question: windows, patience, cool-down, pre-roll, waking other sensors.

`Sampled → Look | Ask | SensorOn | SensorOff`. A window of samples is looked at, by a model or not; when it says so
often enough in a row, there is a question. What is dropped here has no id and no record: it is counted, and gone.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import msgspec

from cascade.messages import Word


class WatchSettings(Word, frozen=True, gc=False, kw_only=True):
    """Counted in samples, but for times."""

    window: int = 1
    step: int = 1
    patience: int = 1
    """How many looks in a row must say that something is there."""
    cool_down_s: float = 0.0
    """After a question, for how long there is no other."""
    pre_roll: int = 0
    """How many samples from before the window go along."""
    looks: bool = False
    """A model looks at each window first. Without, there is something in every window."""
    wakes: str = ""
    """The stream whose sensor is switched on while something is there."""
    awake_s: float = 10.0
    """How long that sensor stays on after the last look that saw something."""


class Sampled(msgspec.Struct, frozen=True):
    """The sensor gave a sample: whatever it is, here it is not looked into."""

    sample: Any


class Looked(msgspec.Struct, frozen=True):
    """What the model said of the window that it was given."""

    something: bool


class WatchTicked(msgspec.Struct, frozen=True):
    """Time passed."""


class Look(msgspec.Struct, frozen=True):
    """Run the model on this window. Answered by `Looked`; meanwhile samples gather."""

    samples: tuple[Any, ...]


class Ask(msgspec.Struct, frozen=True):
    """Make these samples a question."""

    samples: tuple[Any, ...]


class SensorOn(msgspec.Struct, frozen=True):
    """Switch the sensor of this stream on."""

    stream: str


class SensorOff(msgspec.Struct, frozen=True):
    """Switch it off."""

    stream: str


WatchEvent: TypeAlias = Sampled | Looked | WatchTicked
WatchEffect: TypeAlias = Look | Ask | SensorOn | SensorOff


class Watch:
    """One stream's memory. `dropped` counts the windows in which there was nothing."""

    def __init__(self, settings: WatchSettings) -> None:
        self.settings = settings
        self.dropped = 0
        self._whole = settings.window + settings.pre_roll
        """Nothing is looked at before so much is there: each question has the same number of samples."""
        self._samples: deque[Any] = deque(maxlen=self._whole)
        self._fresh = 0
        """Samples since the last look."""
        self._in_a_row = 0
        self._cool_until = 0.0
        self._awake_until: float | None = None
        self._looking: tuple[Any, ...] | None = None
        """What goes along if the window that is being looked at has something in it."""

    def handle(self, event: WatchEvent, now: float) -> list[WatchEffect]:
        effects: list[WatchEffect] = []
        if isinstance(event, Sampled):
            self._samples.append(event.sample)
            self._fresh += 1
            self._look(now, effects)
        elif isinstance(event, Looked):
            samples, self._looking = self._looking, None
            if samples is not None:
                self._judge(event.something, samples, now, effects)
            self._look(now, effects)
        self._sleep(now, effects)
        return effects

    @property
    def wakes_at(self) -> float | None:
        return self._awake_until

    def _look(self, now: float, effects: list[WatchEffect]) -> None:
        settings = self.settings
        if self._looking is not None or self._fresh < settings.step or len(self._samples) < self._whole:
            return
        self._fresh = 0
        samples = tuple(self._samples)
        if settings.looks:
            self._looking = samples
            effects.append(Look(samples[-settings.window :]))
        else:
            self._judge(True, samples, now, effects)

    def _judge(self, something: bool, samples: tuple[Any, ...], now: float, effects: list[WatchEffect]) -> None:
        if not something:
            self._in_a_row = 0
            self.dropped += 1
            return
        self._in_a_row += 1
        if self._in_a_row < self.settings.patience:
            return
        self._wake(now, effects)
        if now >= self._cool_until:
            self._in_a_row = 0
            self._cool_until = now + self.settings.cool_down_s
            effects.append(Ask(samples))

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
