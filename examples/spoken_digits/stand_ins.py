"""Words that nobody said, in the format of FSDD's file: for trying the example where the real clips are not.

    python examples/spoken_digits/stand_ins.py words.npz [RECORDINGS] [DIGITS]

Each digit is three vowels, of two formants each, one gliding into the next. Speakers differ in the size of their
throats, their pitch, their pace and how near they are to the microphone; the last one is far from the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from clips import RATE, Array

SPEAKERS = ("ada", "ben", "cleo", "dan")
THROAT, PITCH_HZ, PACE, LOUDNESS = (
    (1.0, 1.06, 0.95, 1.3),
    (120, 135, 110, 210),
    (1.0, 0.9, 1.1, 1.2),
    (0.5, 0.4, 0.6, 0.05),
)
VOWELS_HZ = np.array([[730, 1090], [270, 2290], [300, 870], [530, 1840], [490, 1350]], float)


def said(digit: int, speaker: int, dice: np.random.Generator) -> Array:
    word = np.random.default_rng(digit)
    formants = VOWELS_HZ[word.integers(0, len(VOWELS_HZ), 3)] * word.uniform(0.9, 1.1, (3, 2)) * THROAT[speaker]
    rows = int(0.4 * RATE / PACE[speaker] * dice.uniform(0.85, 1.15))
    at, time = np.linspace(0, 2, rows), np.arange(rows) / RATE
    pitch = PITCH_HZ[speaker] * dice.uniform(0.9, 1.1)
    sound = np.zeros(rows)
    for harmonic in range(1, int(3800 / pitch)):
        strength = sum(
            np.exp(-(((harmonic * pitch - np.interp(at, range(3), formants[:, each])) / 150.0) ** 2)) for each in (0, 1)
        )
        sound += strength * np.sin(2 * np.pi * harmonic * pitch * time + dice.uniform(0, 6))
    sound *= np.hanning(rows) ** 0.5 * LOUDNESS[speaker] * dice.uniform(0.7, 1.3) / np.abs(sound).max()
    return ((sound + 0.001 * dice.normal(size=rows)).clip(-1, 1) * 32000).astype(np.int16)


def write(path: Path, recordings: int = 50, digits: int = 10) -> None:
    dice = np.random.default_rng(0)
    keys = [(digit, who, take) for digit in range(digits) for who in range(4) for take in range(recordings)]
    sounds = [said(digit, who, dice) for digit, who, _ in keys]
    label, speaker, index = np.array(keys).T
    offset = np.concatenate([[0], np.cumsum([len(sound) for sound in sounds])])
    np.savez(
        path, audio=np.concatenate(sounds), offset=offset, label=label, speaker=speaker, index=index,
        speaker_names=np.array(SPEAKERS),
    )  # fmt: skip


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
