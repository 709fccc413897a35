"""What a person writes about each kind of sensor: the table `sensor` of a stream. Imports no sensor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from cascade.adapters.settings_tables import Amount, Bytes, Count, Seconds, Table

Dtype: TypeAlias = Literal[
    "bool", "uint8", "int8", "uint16", "int16", "float16", "uint32", "int32", "float32", "uint64", "int64", "float64"
]


class SensorCosts(Table, frozen=True, kw_only=True):
    """What every sensor has: its power, from a data sheet or a meter on the bench. 0 in both: not known."""

    watts_on: Amount = 0.0
    """While it is on."""
    watts_off: Amount = 0.0
    """While it is switched off by another stream: what it draws all the same."""


class ReplayTable(SensorCosts, frozen=True, kw_only=True, tag_field="kind", tag="replay"):
    """Samples from files: for trying out, for demonstrations, for measuring."""

    path: Annotated[Path, Meta(extra={"path": "any"})]
    """An .npz file, a .wav file, or a folder of images (PGM and PPM; PNG and JPEG where Pillow is installed)."""
    rate_hz: Amount = 0.0
    """Samples per second. 0: as fast as they are taken."""
    repeat: bool = False
    """Begin again at the end."""
    limit: Annotated[int, Meta(ge=0)] = 0
    """Stop after so many samples. 0: don't."""
    tensors: tuple[str, ...] = ()
    """Of an .npz file: which arrays are tensors of a sample. Absent: all that are not labels."""
    labels: str = "labels"
    """Of an .npz file: the array of labels, if it is there."""
    tensor: str = "input"
    """Of images and sound: how the tensor is called."""
    window: Count = 16_000
    """Of sound: how many frames are one sample."""
    step: Count = 16_000
    """Of sound: after how many frames the next sample begins."""


class CommandTable(SensorCosts, frozen=True, kw_only=True, tag_field="kind", tag="command"):
    """Samples that a program writes to its standard output."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    """The program and its arguments. No shell reads them."""
    framing: Literal["fixed", "length"] = "fixed"
    """`fixed`: each frame has the bytes of `shape`. `length`: four bytes, little-endian, say how many follow."""
    tensor: str = "input"
    """How the tensor is called."""
    dtype: Dtype = "uint8"
    """Little-endian."""
    shape: tuple[Annotated[int, Meta(ge=1, le=1 << 24)], ...] = ()
    """Of one sample. With `length` and no shape: one axis, as long as the frame."""
    max_frame_bytes: Bytes = 16 * 1024 * 1024
    """A longer frame is a fault of the program, which is started again."""
    restart_s: Seconds = 1.0
    """The wait before a program that ended is started again; doubled each time, up to `restart_most_s`."""
    restart_most_s: Seconds = 60.0
    """The longest such wait."""
    stop_within_s: Seconds = 2.0
    """When it is told to stop: after this it is killed."""

    def mistakes(self) -> list[str]:
        wrong = []
        if self.framing == "fixed" and not self.shape:
            wrong.append('shape: is missing, expected the axes of one sample beside framing = "fixed"')
        if self.restart_most_s < self.restart_s:
            wrong.append(
                f"restart_most_s: found {self.restart_most_s:g}, expected restart_s ({self.restart_s:g}) or more"
            )
        if not self.argv[0]:
            wrong.append("argv[0]: is empty, expected a program")
        return wrong


SensorTable: TypeAlias = ReplayTable | CommandTable
"""Told apart by `kind`."""
