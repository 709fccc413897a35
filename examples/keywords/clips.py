"""The 1,000 official inputs of MLPerf Tiny's keyword test, split in turns; and a small stand-in for where they are not.

There is no other Speech Commands data here, so those who train and those who test share the thousand, never a clip:
of five turns, each tests on another fifth, trains on half of all and calibrates on what is left. Over all turns every
clip is tested once, by a release that has never met it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ds_cnn import Layer, read_layers

Array = npt.NDArray[Any]
LABELS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
SCALE, ZERO = 0.5847029, 83
"""Of the inputs: `(x - ZERO) * SCALE` are the cepstral coefficients."""
TURNS = 5
TRAIN_PARTS = 5
"""Of ten parts; two are for testing, and three for calibrating."""


class Clips(NamedTuple):
    """Inputs as the device has them (49 frames of 10 coefficients, int8), and what was said."""

    x: Array
    label: Array

    def taken(self, rows: Array) -> Clips:
        return Clips(self.x[rows], self.label[rows])

    def save(self, path: Path) -> None:
        """As `cascade calibrate` and the replay sensor read it."""
        np.savez_compressed(path, mfcc=self.x, labels=np.array(LABELS)[self.label])


class Source(NamedTuple):
    """What the example is made of."""

    clips: Clips
    edge: bytes
    """The model of the device, as it is."""
    edge_format: str
    ears: list[Layer]
    """The convolutions of the float model."""


class Split(NamedTuple):
    """Three parts that share no clip."""

    train: Clips
    calibrate: Clips
    test: Clips


def official(data: Path) -> Source:
    """From `CASCADE_DATA`."""
    folder = data / "mlperf-tiny"
    with np.load(folder / "eval/kws01_mfcc_int8.npz") as file:
        clips = Clips(file["x"], file["label"].astype(int))
    edge = (folder / "models/kws_ref_model.tflite").read_bytes()
    return Source(clips, edge, "tflite", read_layers(folder / "models/kws_ref_model_float32.tflite"))


def split(clips: Clips, turn: int) -> Split:
    """Label by label, so that each part has its share of each."""
    part = np.zeros(len(clips.label), int)
    dice = np.random.default_rng(0)
    for label in np.unique(clips.label):
        mine = dice.permutation(np.flatnonzero(clips.label == label))
        part[mine] = (np.arange(len(mine)) + 2 * turn + label) % 10
    parts = (part < TRAIN_PARTS, (part >= TRAIN_PARTS) & (part < 8), part >= 8)
    return Split(*(clips.taken(np.flatnonzero(rows)) for rows in parts))
