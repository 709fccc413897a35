"""Inputs and models that are none, in the shape of MLPerf Tiny's: for trying the example where those are not.

    python examples/keywords/stand_ins.py FOLDER

Twelve "words" are twelve smooth pictures of 49 × 10, moved and covered with noise. The ears are the same kind of
network with 32 random channels, and the device's model (ONNX here) has learned from so few clips that it has to ask.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from clips import LABELS, SCALE, ZERO, Clips, Source
from ds_cnn import COEFFICIENTS, FRAMES, Layer, as_onnx
from train import trained, write

CHANNELS, CLIPS, FEW = 32, 600, 8


def words(dice: np.random.Generator) -> Clips:
    knots = dice.normal(size=(len(LABELS), 8, 4)) * 40.0
    wide = np.stack(
        [[np.interp(np.linspace(0, 3, COEFFICIENTS), range(4), row) for row in word] for word in knots - 30.0]
    )
    at = np.linspace(0, 7, FRAMES)
    label = np.arange(CLIPS) % len(LABELS)
    moved = np.clip(at + dice.uniform(-0.5, 0.5, (CLIPS, 1)), 0, 7)
    low = np.minimum(moved.astype(int), 6)
    share = (moved - low)[..., None]
    clean = wide[label[:, None], low] * (1 - share) + wide[label[:, None], low + 1] * share
    noisy = (clean + dice.normal(size=clean.shape) * dice.uniform(3, 40, (CLIPS, 1, 1))) / SCALE + ZERO
    return Clips(noisy.round().clip(-127, 126).astype(np.int8), label)


def ears(dice: np.random.Generator) -> list[Layer]:
    def layer(shape: tuple[int, ...], stride: int, by_channel: bool) -> Layer:
        weights = dice.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        return Layer(weights.astype(np.float32), np.zeros(len(weights), np.float32), stride, by_channel)

    deeper = [layer((CHANNELS, 1, 3, 3), 1, True), layer((CHANNELS, CHANNELS, 1, 1), 1, False)]
    return [layer((CHANNELS, 1, 10, 4), 2, False), *deeper]


def stand_in() -> Source:
    dice = np.random.default_rng(7)
    clips, hears = words(dice), ears(dice)
    few = clips.taken(np.arange(FEW * len(LABELS)))
    return Source(clips, as_onnx(hears, trained(hears, few)), "onnx", hears)


if __name__ == "__main__":
    write(Path(sys.argv[1]), stand_in())
