"""Spoken digits: the clips of FSDD, split by recording and by speaker, and how one becomes a second of sound.

Of each speaker and digit there are 50 recordings. The first 5 are FSDD's own test set, the next 15 are for thresholds,
the other 30 for training. Of a speaker that is left out nothing is in any of these parts.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
RATE = 8000
TEST_BELOW, CALIBRATE_BELOW = 5, 20


class Clips(NamedTuple):
    """Words, each by itself."""

    sounds: list[Array]
    label: Array
    speaker: Array
    index: Array
    """Which recording of this digit by this speaker."""
    names: dict[int, str]
    """Of the speakers."""

    def rows(self, wanted: Array) -> Clips:
        rows = np.flatnonzero(wanted)
        return Clips(
            [self.sounds[row] for row in rows], self.label[rows], self.speaker[rows], self.index[rows], self.names
        )

    def by(self, name: str) -> Array:
        """Which are this speaker's."""
        numbers = [number for number, each in self.names.items() if each == name]
        if not numbers:
            raise SystemExit(f"no speaker {name!r}; there are {', '.join(self.names.values())}")
        return np.asarray(self.speaker == numbers[0])

    def save(self, path: Path) -> None:
        """As `cascade calibrate` and the replay sensor read them."""
        np.savez_compressed(path, sound=np.stack([placed(each) for each in self.sounds]), labels=self.label.astype(str))


class Split(NamedTuple):
    """For training below and above, for thresholds, for the table; and what the stranger says."""

    edge: Clips
    cloud: Clips
    calibrate: Clips
    test: Clips
    stranger: Clips


def read(path: Path) -> Clips:
    with np.load(path) as file:
        audio, offset = file["audio"], file["offset"]
        spoken = [audio[begin:end] for begin, end in pairwise(offset)]
        names = {int(each): str(file["speaker_names"][each]) for each in np.unique(file["speaker"])}
        return Clips(spoken, file["label"].astype(int), file["speaker"].astype(int), file["index"].astype(int), names)


def split(clips: Clips, without: str = "", known_above: bool = False) -> Split:
    """`known_above`: the model above has heard the stranger, in recordings that are not asked afterwards."""
    theirs = clips.by(without) if without else np.zeros(len(clips.label), bool)
    train, test = clips.index >= CALIBRATE_BELOW, clips.index < TEST_BELOW
    return Split(
        clips.rows(train & ~theirs),
        clips.rows(train if known_above else train & ~theirs),
        clips.rows(~train & ~test & ~theirs),
        clips.rows(test & ~theirs),
        clips.rows(theirs & ~train if known_above else theirs),
    )


def placed(sound: Array) -> Array:
    """In the middle of a second; what is longer is cut."""
    sound = sound[:RATE]
    second = np.zeros(RATE, np.int16)
    begin = (RATE - len(sound)) // 2
    second[begin : begin + len(sound)] = sound
    return second


def spoken_faster(sound: Array, times: float) -> Array:
    """And higher: another throat, roughly."""
    at = np.arange(int(len(sound) / times)) * times
    return np.interp(at, np.arange(len(sound)), sound).astype(np.int16)
