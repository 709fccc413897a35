"""Streams to be woken by, or not: spoken digits, silence and noise in turn, with where each word stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.inference.features import apply_features
from cascade.inference.wake_report import Word
from cascade.release.preprocessing import Resample

Array = npt.NDArray[Any]
RATE = 16_000
UP = (Resample(from_hz=8000, to_hz=RATE, pad=True),)


class Clips(NamedTuple):
    """Spoken digits at 16 kHz, each as loud as it gets."""

    sounds: list[Array]
    labels: list[int]

    def of(self, label: int) -> list[Array]:
        return [sound for sound, each in zip(self.sounds, self.labels, strict=True) if each == label]


class Stream(NamedTuple):
    """Sound in 16 bits, and what was said where."""

    sound: Array
    said: list[tuple[Word, int]]

    @property
    def hours(self) -> float:
        return len(self.sound) / RATE / 3600.0

    def words(self, label: int) -> list[Word]:
        return [word for word, each in self.said if each == label]


def digits(data: Path, *, test: bool) -> Clips:
    file = np.load(data / "fsdd/fsdd_design_4spk.npz")
    audio, offset = file["audio"], file["offset"]
    chosen = np.flatnonzero(file["is_test"] == test).tolist()
    sounds = [as_loud_as_it_gets(apply_features(audio[None, offset[k] : offset[k + 1]], UP)[0]) for k in chosen]
    return Clips(sounds, file["label"][chosen].tolist())


def as_loud_as_it_gets(sound: Array) -> Array:
    return sound / max(1e-9, float(np.abs(sound).max()))


def composed(clips: Clips, minutes: float, seed: int, words_share: float = 0.6) -> Stream:
    """Scenes of half a minute: speech over a background, the background alone, or nothing at all (digital silence)."""
    dice, parts, said, at = np.random.default_rng(seed), [], [], 0
    while at < minutes * 60 * RATE:
        scene = np.zeros(30 * RATE)
        background = dice.choice(["none", "white", "pink", "hum"])
        scene += _background(background, len(scene), dice) * dice.choice([0.003, 0.01, 0.03])
        if dice.random() < words_share:
            said += [
                (Word(word.begin_s + at / RATE, word.end_s + at / RATE), label)
                for word, label in _speak(scene, clips, dice)
            ]
        parts.append((scene.clip(-1, 1) * 32767).astype(np.int16))
        at += len(scene)
    return Stream(np.concatenate(parts), said)


def _speak(scene: Array, clips: Clips, dice: np.random.Generator) -> list[tuple[Word, int]]:
    said, at = [], int(0.5 * RATE)
    while True:
        index = int(dice.integers(len(clips.sounds)))
        sound = clips.sounds[index] * dice.uniform(0.2, 0.9)
        if at + len(sound) > len(scene) - RATE:
            return said
        scene[at : at + len(sound)] += sound
        said.append((Word(at / RATE, (at + len(sound)) / RATE), clips.labels[index]))
        at += len(sound) + int(dice.uniform(0.25, 1.5) * RATE)


def _background(kind: str, rows: int, dice: np.random.Generator) -> Array:
    white = dice.normal(size=rows)
    if kind == "none":
        return np.zeros(rows)
    if kind == "white":
        return white
    if kind == "hum":
        return np.sin(2 * np.pi * 50 * np.arange(rows) / RATE) * 3 + 0.1 * white
    parts = np.fft.rfft(white)
    parts[1:] /= np.sqrt(np.arange(1, len(parts)))
    pink = np.fft.irfft(parts, rows)
    return np.asarray(pink / pink.std())
