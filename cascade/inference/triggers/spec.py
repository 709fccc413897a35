"""What can be set of each trigger: the table `trigger` of a stream's watch, told apart by `kind`.

Each has a level, in a unit of its own, from which it is on (`on_at`) and a lower one below which it is off again
(`off_at`): what wavers between the two changes nothing.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0, le=1e12)]
Share = Annotated[float, Meta(ge=0, le=1)]


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of them have."""

    on_at: float
    """The level from which it is on."""
    off_at: float
    """The level below which it is off again."""
    tensor: str = ""
    """Which array of a sample it hears. Empty: the only one, or the first."""
    lowest: ClassVar[float] = 0.0
    """No level is lower."""

    @property
    def falls_at(self) -> float:
        """The level below which it is off again."""
        return self.off_at

    def mistakes(self) -> list[str]:
        if self.off_at > self.on_at:
            return [f"off_at: found {self.off_at:g}, expected on_at ({self.on_at:g}) or less"]
        if self.falls_at <= self.lowest:
            return [
                f"off_at: found {self.off_at:g}, expected more than {self.lowest:g}: no level is lower, "
                "and it would never be off again"
            ]
        return []


class SoundLevel(TriggerSpec, frozen=True, kw_only=True, tag_field="kind", tag="sound_level"):
    """How loud it is, in dB below full scale, without what stands still (an offset)."""

    on_at: float = -40.0
    off_at: float = -45.0
    full_scale: Annotated[float, Meta(ge=0)] = 0.0
    """The largest number there can be. 0: of whole numbers that of their type, of others 1."""
    lowest: ClassVar[float] = -120.0


class Voice(TriggerSpec, frozen=True, kw_only=True, tag_field="kind", tag="voice"):
    """By how many dB the band of voices stands above its own background. By energy alone: music and dogs pass. A model
    knows better: name it as `wake_task`, behind this or instead of it."""

    rate_hz: Positive
    """Of the sound: numbers per second."""
    on_at: float = 9.0
    off_at: float = 5.0
    low_hz: Positive = 200.0
    """Where the band of voices begins."""
    high_hz: Positive = 4000.0
    """Where it ends."""
    least_db: float = -65.0
    """Below full scale: a background is never thought quieter, so that a whisper after silence is no shout."""
    rise_db_per_s: Positive = 3.0
    """How fast what goes on becomes background. It falls at once."""
    full_scale: Annotated[float, Meta(ge=0)] = 0.0
    """As of `sound_level`."""
    lowest: ClassVar[float] = float("-inf")

    def mistakes(self) -> list[str]:
        wrong = super().mistakes()
        if not self.low_hz < self.high_hz:
            wrong.append(f"low_hz: found {self.low_hz:g}, expected less than high_hz ({self.high_hz:g})")
        if self.low_hz >= 0.5 * self.rate_hz:
            wrong.append(f"low_hz: found {self.low_hz:g}, expected less than half of rate_hz ({self.rate_hz:g})")
        return wrong


class Motion(TriggerSpec, frozen=True, kw_only=True, tag_field="kind", tag="motion"):
    """The share of an image that differs from the image before."""

    on_at: Share = 0.02
    off_at: Share = 0.01
    pixel_step: Share = 0.06
    """By so much of full scale a place must differ. Below: noise."""
    cells: Annotated[int, Meta(ge=1, le=1024)] = 48
    """Images are compared as so many cells along their longer side: noise is averaged out, and it is cheap."""
    same_light: bool = False
    """True: a change that is the same everywhere counts as well. Without, a lamp or a cloud is no motion."""
    full_scale: Annotated[float, Meta(ge=0)] = 0.0
    """As of `sound_level`."""

    def mistakes(self) -> list[str]:
        wrong = super().mistakes()
        if self.cells == 1 and not self.same_light:
            wrong.append("cells: found 1, expected more: one alone can't tell a motion from a change of light")
        return wrong


class Activity(TriggerSpec, frozen=True, kw_only=True, tag_field="kind", tag="activity"):
    """How much readings (accelerations, vibration) move about their slow mean: root of the mean square over all axes,
    in the sensor's own unit. Gravity and offsets are slow, and left out."""

    on_at: Positive
    off_at: Annotated[float, Meta(ge=0)] = 0.0
    """0: half of `on_at`."""
    settle: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """How many readings the slow mean looks back, roughly."""
    one_sensor: bool = False
    """A sample with one axis is a stretch of readings of one sensor. Without, it is one reading of several."""

    @property
    def falls_at(self) -> float:
        return self.off_at or 0.5 * self.on_at


class Change(TriggerSpec, frozen=True, kw_only=True, tag_field="kind", tag="change"):
    """By how many spreads a reading lies off the median of the last ones, at the sensor that is furthest off. The
    spread is that of the middle half, as of a normal distribution: a few outliers don't widen it."""

    on_at: Positive = 6.0
    off_at: Annotated[float, Meta(ge=0)] = 3.0
    memory: Annotated[int, Meta(ge=4, le=100_000)] = 120
    """How many readings are recent. What stays becomes usual when it fills half of them."""
    learn: Annotated[int, Meta(ge=2, le=100_000)] = 30
    """After so many it begins to tell."""
    least_spread: Annotated[float, Meta(ge=0)] = 0.0
    """A spread is never thought smaller than this: the resolution of the sensor, at least."""
    one_sensor: bool = False
    """As of `activity`."""

    def mistakes(self) -> list[str]:
        wrong = super().mistakes()
        if self.learn > self.memory:
            wrong.append(f"learn: found {self.learn}, expected memory ({self.memory}) or less")
        return wrong


AnyTrigger: TypeAlias = SoundLevel | Voice | Motion | Activity | Change
