"""What can be done to an input before the model sees it, as a manifest describes it: settings, checks, sizes, costs.

Each struct says what shape comes out, what it costs, and, where a row of the output depends on a few neighbouring rows
of the input only, on which: such a feature can be computed as the rows come. What it does to numbers is in
`cascade/inference/features`. A row is one place on a sample's first axis: a moment of sound, a reading of all sensors.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta

from cascade.release.words import Described

Shape: TypeAlias = tuple[int, ...]
Hertz = Annotated[float, Meta(gt=0, le=1e9)]
MAX_ELEMENTS = 1 << 26
"""Numbers that one sample may take on its way, so that no manifest can ask for all memory."""


class Rows(NamedTuple):
    """`per` rows come out for each `hop` rows that came in, and each group of them depends on `span` rows."""

    span: int = 1
    hop: int = 1
    per: int = 1

    def made_of(self, rows: int) -> int:
        """How many rows come out of so many."""
        return 0 if rows < self.span else self.per * ((rows - self.span) // self.hop + 1)

    def first(self, rows: int) -> int:
        """From how many rows on as many come out of a long stream."""
        return self.span + (max(1, -(-rows // self.per)) - 1) * self.hop


EACH = Rows()


def sensible(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def made(rows: Rows, shape: Shape, what: str) -> int:
    """How many rows come of a sample of this shape: one at least, or it is none for this feature."""
    count = rows.made_of(axis(shape))
    sensible(count > 0, f"{what} of {rows.span} rows on a sample of {axis(shape)}")
    return count


def axis(shape: Shape) -> int:
    sensible(len(shape) > 0, "a feature of a time series on a single number")
    return shape[0]


def each_of(numbers: float | tuple[float, ...]) -> tuple[float, ...]:
    return numbers if isinstance(numbers, tuple) else (numbers,)


class Preprocessing(Described, frozen=True):
    """What every feature says of itself. `ValueError` where the shape before it is none for it."""

    def after(self, shape: Shape) -> Shape:
        """Of one sample."""
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """Of one sample of this shape, roughly: what an estimate of joules is made of."""
        return math.prod(shape)

    def rows(self, shape: Shape) -> Rows | None:
        """None where all of the sample is needed for any of it."""
        return None


class Normalise(Preprocessing, frozen=True, tag_field="feature", tag="normalise"):
    """`(x - subtract) / divide`, as float32. Several numbers are one each for the last axis: the colours, the axes."""

    subtract: float | tuple[float, ...] = 0.0
    divide: float | tuple[float, ...] = 1.0

    def after(self, shape: Shape) -> Shape:
        for number in (*each_of(self.subtract), *each_of(self.divide)):
            sensible(math.isfinite(number), f"a normalisation by {number}")
        sensible(all(each_of(self.divide)), f"a normalisation by {self.subtract} and {self.divide}")
        for numbers in (self.subtract, self.divide):
            fits = not isinstance(numbers, tuple) or (len(shape) > 0 and len(numbers) == shape[-1])
            sensible(fits, f"a normalisation by {numbers}, where the last axis of {shape} wants as many numbers")
        return shape

    def rows(self, shape: Shape) -> Rows | None:
        several = isinstance(self.subtract, tuple) or isinstance(self.divide, tuple)
        return EACH if len(shape) > 1 or not several else None


class Reshape(Preprocessing, frozen=True, tag_field="feature", tag="reshape"):
    """The same numbers in the same order, along other axes: 28×28 as 28×28×1, or as 784."""

    shape: tuple[Annotated[int, Meta(ge=1)], ...]

    def after(self, shape: Shape) -> Shape:
        sensible(math.prod(self.shape) == math.prod(shape), f"{shape} in the shape {self.shape}")
        return self.shape

    def multiply_adds(self, shape: Shape) -> int:
        return 0


class Transpose(Preprocessing, frozen=True, tag_field="feature", tag="transpose"):
    """The axes in another order: `(2, 0, 1)` makes channels first of channels last."""

    order: tuple[Annotated[int, Meta(ge=0)], ...]

    def after(self, shape: Shape) -> Shape:
        sensible(sorted(self.order) == list(range(len(shape))), f"an order of axes {self.order} for {shape}")
        return tuple(shape[axis] for axis in self.order)

    def multiply_adds(self, shape: Shape) -> int:
        return 0


class Check(Preprocessing, frozen=True, tag_field="feature", tag="check"):
    """Refuses what a broken sensor gives, and changes nothing. It comes first: it is about what was sensed."""

    varies: bool = True
    """Refuse a sample whose numbers are all the same: a microphone that is muted, a camera that is covered or dead."""
    clipped_share: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Refuse a sample of which this share or more stands at the end of the range: a microphone too near."""
    lowest: float | None = None
    """The end of the range. Absent: of whole numbers that of their type, of others -1."""
    highest: float | None = None

    def after(self, shape: Shape) -> Shape:
        for number in (self.lowest, self.highest):
            sensible(number is None or math.isfinite(number), f"a check against {number}")
        if self.lowest is not None and self.highest is not None:
            sensible(self.lowest < self.highest, f"a range from {self.lowest} to {self.highest}")
        return shape

    def rows(self, shape: Shape) -> Rows:
        """It changes nothing, and is asked about the whole sample before anything else is."""
        return EACH


class Channels(Preprocessing, frozen=True, tag_field="feature", tag="channels"):
    """Some of the sensors (the last axis), or the mean of them: fewer microphones, fewer axes, fewer access points."""

    keep: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    """Which, counted from 0, in this order. Empty: all."""
    mean: bool = False
    """Their mean in place of them; the last axis is gone."""

    def after(self, shape: Shape) -> Shape:
        sensible(len(shape) > (1 if self.mean else 0), f"channels of a sample of shape {shape}, which has none")
        sensible(all(each < shape[-1] for each in self.keep), f"channels {self.keep} of {shape[-1]}")
        sensible(len(set(self.keep)) == len(self.keep), f"channels {self.keep}, one of them twice")
        sensible(bool(self.keep) or self.mean, "channels that keep nothing and mix nothing")
        kept = len(self.keep) or shape[-1]
        return shape[:-1] if self.mean else (*shape[:-1], kept)

    def rows(self, shape: Shape) -> Rows | None:
        return EACH if len(shape) > 1 else None


class Window(Preprocessing, frozen=True, tag_field="feature", tag="window"):
    """Overlapping windows over a time series, one under the other: (time, …) becomes (windows, length, …)."""

    length: Annotated[int, Meta(ge=1)]
    step: Annotated[int, Meta(ge=1)]

    def after(self, shape: Shape) -> Shape:
        return (made(self.rows(shape), shape, "a window"), self.length, *shape[1:])

    def multiply_adds(self, shape: Shape) -> int:
        return 0

    def rows(self, shape: Shape) -> Rows:
        return Rows(self.length, self.step)


class LowPass(Preprocessing, frozen=True, tag_field="feature", tag="low_pass"):
    """A low pass (windowed sinc, linear phase, gain 1 at rest), and of its output one row in `keep_every`."""

    rate_hz: Hertz
    cutoff_hz: Annotated[float, Meta(ge=0)] = 0.0
    """Where half of a wave passes. 0: nine tenths of what the new rate can hold."""
    taps: Annotated[int, Meta(ge=3, le=4095)] = 63
    """Odd. More are steeper, and later."""
    keep_every: Annotated[int, Meta(ge=1, le=10_000)] = 1
    pad: bool = False
    """Repeat the first and the last row, so that n rows become n / keep_every. Its ends are then made up."""

    @property
    def cutoff(self) -> float:
        return self.cutoff_hz or 0.45 * self.rate_hz / self.keep_every

    def after(self, shape: Shape) -> Shape:
        sensible(self.taps % 2 == 1, f"a low pass of {self.taps} taps, an even number")
        most = 0.5 * self.rate_hz / self.keep_every
        told = f"a low pass at {self.cutoff:g} Hz of {self.rate_hz:g} Hz, one row in {self.keep_every} kept"
        sensible(0 < self.cutoff < most, f"{told}: expected less than {most:g} Hz, above which waves fold over")
        if self.pad:
            return (-(-axis(shape) // self.keep_every), *shape[1:])
        return (made(self._rows, shape, "a low pass"), *shape[1:])

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(self.after(shape)) * self.taps

    @property
    def _rows(self) -> Rows:
        return Rows(self.taps, self.keep_every)

    def rows(self, shape: Shape) -> Rows | None:
        return None if self.pad else self._rows


class Resample(Preprocessing, frozen=True, tag_field="feature", tag="resample"):
    """From one rate to another, by a windowed sinc that lets nothing fold over. Whole numbers of hertz."""

    from_hz: Annotated[int, Meta(ge=1, le=10_000_000)]
    to_hz: Annotated[int, Meta(ge=1, le=10_000_000)]
    crossings: Annotated[int, Meta(ge=2, le=64)] = 8
    """How many zeros of the sinc on each side are used: more are steeper, and dearer."""
    pad: bool = False
    """Repeat the first and the last row, so that n rows become n · to_hz / from_hz."""

    @property
    def ratio(self) -> tuple[int, int]:
        """Up and down, without a common divisor."""
        common = math.gcd(self.from_hz, self.to_hz)
        return self.to_hz // common, self.from_hz // common

    @property
    def half(self) -> int:
        """Rows of the input on each side of an output row."""
        return math.ceil(self.crossings * max(1.0, self.from_hz / self.to_hz))

    def after(self, shape: Shape) -> Shape:
        up, down = self.ratio
        sensible(max(up, down) <= 2000, f"{self.from_hz} Hz to {self.to_hz} Hz, which is {up} to {down}: at most 2000")
        if self.pad:
            return (axis(shape) * up // down, *shape[1:])
        return (made(self._rows, shape, "resampling"), *shape[1:])

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(self.after(shape)) * 2 * self.half

    @property
    def _rows(self) -> Rows:
        up, down = self.ratio
        return Rows(2 * self.half + (down * (up - 1)) // up, down, up)

    def rows(self, shape: Shape) -> Rows | None:
        return None if self.pad else self._rows


class Resize(Preprocessing, frozen=True, tag_field="feature", tag="resize"):
    """An image (height, width, perhaps colours) of another size, as float32. The ends of both are the same."""

    height: Annotated[int, Meta(ge=1, le=16_384)]
    width: Annotated[int, Meta(ge=1, le=16_384)]
    how: Literal["bilinear", "area", "nearest"] = "bilinear"
    """`area` is the mean of all that a pixel covers, best when it gets smaller; `bilinear` looks at four pixels."""

    def after(self, shape: Shape) -> Shape:
        sensible(len(shape) in (2, 3), f"an image of shape {shape}: expected height, width, and perhaps colours")
        return (self.height, self.width, *shape[2:])

    def multiply_adds(self, shape: Shape) -> int:
        return {"bilinear": 4, "area": 2, "nearest": 0}[self.how] * max(math.prod(shape), math.prod(self.after(shape)))


class Rssi(Preprocessing, frozen=True, tag_field="feature", tag="rssi"):
    """Signal strengths of access points as numbers from 0 (not heard) to 1. Nothing heard at all is bad input."""

    absent: float = 100.0
    """What stands for "not heard"."""
    least_dbm: float = -105.0
    """What is weaker counts as not heard."""
    strongest_dbm: float = 0.0
    power: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Above 1: what is near counts for more."""

    def after(self, shape: Shape) -> Shape:
        told = f"signal strengths from {self.least_dbm} to {self.strongest_dbm} dBm"
        sensible(-1000 < self.least_dbm < self.strongest_dbm < 1000, told)
        sensible(math.isfinite(self.absent), f"{self.absent} for what was not heard")
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        return (2 if self.power == 1.0 else 20) * math.prod(shape)


class Quantise(Preprocessing, frozen=True, tag_field="feature", tag="quantise"):
    """`round(x / scale) + zero_point`, half to even, held within the type."""

    scale: Annotated[float, Meta(gt=0)]
    zero_point: int = 0
    dtype: Literal["int8", "uint8", "int16"] = "int8"

    def after(self, shape: Shape) -> Shape:
        sensible(1e-30 < self.scale < 1e30, f"a scale of {self.scale}")
        least, most = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}[self.dtype]
        sensible(least <= self.zero_point <= most, f"a zero point of {self.zero_point}, outside {self.dtype}")
        return shape

    def rows(self, shape: Shape) -> Rows:
        return EACH


class Dequantise(Preprocessing, frozen=True, tag_field="feature", tag="dequantise"):
    """`(x - zero_point) * scale`, as float32."""

    scale: Annotated[float, Meta(gt=0)]
    zero_point: int = 0

    def after(self, shape: Shape) -> Shape:
        sensible(1e-30 < self.scale < 1e30, f"a scale of {self.scale}")
        return shape

    def rows(self, shape: Shape) -> Rows:
        return EACH
