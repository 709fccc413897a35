"""Log-mel spectra and MFCCs, as a manifest describes them: enough settings to be the front end a model was trained on.

How others name it: TensorFlow's `tf.signal` is `amplitude="magnitude", slopes_in="mel", add=1e-6, cosine="htk"`, which
the keyword model of MLPerf Tiny was trained on; librosa is `amplitude="power", slopes_in="hertz", mel="slaney",
equal_area=True`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

from cascade.release.preprocessing import MAX_ELEMENTS, Hertz, Preprocessing, Rows, Shape, made, sensible


class Spectrum(Preprocessing, frozen=True):
    """What both are made by: frames of sound, their spectra, mel bands, a logarithm."""

    rate_hz: Hertz
    frame: Annotated[int, Meta(ge=2, le=65_536)]
    """Length of a frame, in rows of the input."""
    hop: Annotated[int, Meta(ge=1, le=65_536)]
    """From the begin of a frame to the next, in rows."""
    bands: Annotated[int, Meta(ge=1, le=1024)] = 40
    low_hz: Annotated[float, Meta(ge=0)] = 20.0
    high_hz: Annotated[float, Meta(ge=0)] = 0.0
    """0: half the rate."""
    fft: Annotated[int, Meta(ge=0, le=65_536)] = 0
    """Length of the transform; what a frame doesn't fill is 0. 0: the next power of two."""
    taper: Literal["hann", "hamming", "none"] = "hann"
    """What a frame is multiplied with. Periodic, as in `tf.signal` and librosa."""
    pre_emphasis: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """So much of a row is taken from the next, within each frame."""
    amplitude: Literal["power", "magnitude"] = "power"
    mel: Literal["htk", "slaney"] = "htk"
    slopes_in: Literal["hertz", "mel"] = "hertz"
    """Along which axis the sides of the triangles are straight."""
    equal_area: bool = False
    """Each triangle has the same area. Without, each is 1 high."""
    log: Literal["e", "10", "db"] = "e"
    add: Annotated[float, Meta(ge=0)] = 0.0
    """Added before the logarithm."""
    floor: Annotated[float, Meta(gt=0)] = 1e-10
    """What is smaller counts as this: silence has a logarithm too."""

    @property
    def transform(self) -> int:
        return self.fft or 1 << (self.frame - 1).bit_length()

    @property
    def top_hz(self) -> float:
        return self.high_hz or 0.5 * self.rate_hz

    @property
    def numbers(self) -> int:
        """Per frame."""
        return self.bands

    def after(self, shape: Shape) -> Shape:
        sensible(len(shape) == 1, f"a spectrum of a sample of shape {shape}: expected one channel, and one axis")
        sensible(self.transform >= self.frame, f"a transform of {self.fft} for frames of {self.frame}")
        sensible(1e-30 <= self.floor <= 1e30 and self.add <= 1e30, f"a floor of {self.floor}, {self.add} added")
        told = f"bands from {self.low_hz:g} to {self.top_hz:g} Hz at a rate of {self.rate_hz:g}"
        sensible(self.low_hz < self.top_hz <= 0.5 * self.rate_hz, told)
        frames = made(self.rows(shape), shape, "frames")
        sensible(frames * self.transform <= MAX_ELEMENTS, f"{frames} frames of {self.transform}")
        return (frames, self.numbers)

    def multiply_adds(self, shape: Shape) -> int:
        """A real transform of n is counted as n · log2(n), a logarithm as 20."""
        bins = self.transform // 2 + 1
        per_frame = self.frame + self.transform * math.log2(self.transform) + 4 * bins + 20 * self.bands
        return round(self.after(shape)[0] * per_frame)

    def rows(self, shape: Shape) -> Rows:
        return Rows(self.frame, self.hop)


class LogMel(Spectrum, frozen=True, tag_field="feature", tag="log_mel"):
    """Sound (time) becomes (frames, bands)."""


class Mfcc(Spectrum, frozen=True, tag_field="feature", tag="mfcc"):
    """Sound (time) becomes (frames, coefficients): the cosine transform of the log-mel bands."""

    coefficients: Annotated[int, Meta(ge=1, le=1024)] = 13
    """Counted from the one that is the loudness."""
    cosine: Literal["ortho", "htk"] = "ortho"
    """`htk` leaves the first coefficient larger, by the root of two."""
    lifter: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """Raises the higher coefficients, as HTK and librosa do. 0: not."""

    @property
    def numbers(self) -> int:
        return self.coefficients

    def after(self, shape: Shape) -> Shape:
        sensible(self.coefficients <= self.bands, f"{self.coefficients} coefficients of {self.bands} bands")
        return super().after(shape)

    def multiply_adds(self, shape: Shape) -> int:
        return super().multiply_adds(shape) + self.after(shape)[0] * self.bands * self.coefficients
