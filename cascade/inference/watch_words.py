"""What can happen to a watch, what it wants done, and what can be set of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
import numpy.typing as npt

from cascade.messages import Prediction, Word

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]
"""Arrays by name, as a sensor gives them. Nobody changes them."""


class WatchSettings(Word, frozen=True, gc=False, kw_only=True):
    """Counted in samples, or in rows of samples, but for times."""

    window: int = 1
    step: int = 1
    by: Literal["sample", "row"] = "sample"
    """What is counted: samples as the sensor gives them, or their rows (on the first axis), however many come at once.
    """
    hold: int | None = None
    """For how much longer there is something when a trigger hears nothing any more. None: for a window, where a model
    looks, because what was heard is still in it; else not."""
    patience: int = 1
    """How many looks in a row must say that something is there."""
    smooth: int = 1
    """A model's predictions are averaged over so many looks before they are judged."""
    cool_down_s: float = 0.0
    """After a question, for how long there is no other."""
    once: bool = False
    """One question for each time that something comes; it must be gone before there is another."""
    pre_roll: int = 0
    """How much from before the window goes along."""
    post_roll: int = 0
    """How much from after it goes along: the question waits for it."""
    wakes: str = ""
    """The stream whose sensor is switched on while something is there."""
    awake_s: float = 10.0
    """How long that sensor stays on after the last look that saw something."""


class Sampled(msgspec.Struct, frozen=True):
    """The sensor gave a sample."""

    tensors: Tensors


class Looked(msgspec.Struct, frozen=True):
    """What the model said of the window that it was given."""

    prediction: Prediction | None
    """None: it failed, or was not asked."""
    carried: Tensors = {}
    """What it wants to be told with the next window."""
    bad_input: bool = False
    """The window is none for this model, and it was not asked."""


class Interrupted(msgspec.Struct, frozen=True):
    """The sensor was switched off, broke, or lost samples: what comes next doesn't follow on what came before."""


class WatchTicked(msgspec.Struct, frozen=True):
    """Time passed."""


class Look(msgspec.Struct, frozen=True):
    """Run the model on this window. Answered by `Looked`; meanwhile samples gather."""

    window: Tensors
    features: Array | None = None
    """What the model is fed, of its only input, where it was computed as the rows came."""
    carried: Tensors = {}
    """What the model gave to be carried from the window before. Empty at the beginning, and after a gap."""


class Ask(msgspec.Struct, frozen=True):
    """Make this a question."""

    window: Tensors


class SensorOn(msgspec.Struct, frozen=True):
    """Switch the sensor of this stream on."""

    stream: str


class SensorOff(msgspec.Struct, frozen=True):
    """Switch it off."""

    stream: str


WatchEvent: TypeAlias = Sampled | Looked | Interrupted | WatchTicked
WatchEffect: TypeAlias = Look | Ask | SensorOn | SensorOff


class WatchCounts:
    """What a watch did, in aggregate: of what it drops there is no other record."""

    __slots__ = ("asked", "bad", "dropped", "failed", "looks", "skipped")

    def __init__(self) -> None:
        self.asked = 0
        """Questions."""
        self.dropped = 0
        """Windows in which there was nothing."""
        self.looks = 0
        """Windows that a model was given."""
        self.failed = 0
        """Looks that failed, or said what no gate can read. They count as something: to ask is the way to find out."""
        self.skipped = 0
        """Windows that passed while the model was busy."""
        self.bad = {"not_finite": 0, "misfit": 0, "flat": 0, "bad_input": 0}
        """Samples with numbers that are none; of another shape or type than those before; that don't vary, or are the
        one before again; and windows that the model refused."""
