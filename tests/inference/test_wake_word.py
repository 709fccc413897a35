"""A wake word on a small stream of tones: windows, features as the sound comes, smoothing, cool-down, a verifier."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cascade.inference.features.streaming import WindowFeatures
from cascade.inference.gate import Gate
from cascade.inference.triggers import Trigger
from cascade.inference.triggers.spec import SoundLevel
from cascade.inference.wake_report import WakeReport, Word, score_wakes
from cascade.inference.watch import Watch
from cascade.inference.watch_thread import Looks
from cascade.inference.watch_words import Ask, Look, Looked, Sampled, WatchSettings
from cascade.messages import ClassScores
from cascade.release.ladder import GateSpec, LadderStage
from cascade.release.preprocessing import Normalise
from cascade.release.spectra import LogMel

RATE, WINDOW, STEP = 4000, 2000, 400
WORD_HZ, OTHER_HZ, CLICK_S = 1000.0, 500.0, 0.04
FEATURES = (Normalise(divide=32768.0), LogMel(rate_hz=RATE, frame=200, hop=200, bands=16, floor=1e-6))
DICE = np.random.default_rng(8)


def tone(hertz: float, seconds: float) -> np.ndarray:
    return 9000 * np.sin(2 * math.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def stream() -> tuple[np.ndarray, list[Word]]:
    """Words of 0.4 s, other tones, and clicks at the word's pitch, in a room that is never quite silent."""
    parts: list[np.ndarray] = []
    words: list[Word] = []
    for turn in range(24):
        parts.append(np.zeros(round(DICE.uniform(0.8, 1.2) * RATE)))
        at_s = sum(map(len, parts)) / RATE
        kind = ("word", "other", "click")[turn % 3]
        parts.append({"word": tone(WORD_HZ, 0.4), "other": tone(OTHER_HZ, 0.4), "click": tone(WORD_HZ, CLICK_S)}[kind])
        if kind == "word":
            words.append(Word(at_s, at_s + 0.4))
    sound = np.concatenate(parts)
    return (sound + DICE.normal(0, 30, len(sound))).astype(np.int16), words


def scores(look: Look) -> ClassScores:
    """Sure of the word as soon as its pitch is the loudest of the newest frames: too eager, as small models are."""
    assert look.features is not None
    newest = look.features[0, -2:]
    band = LogMel(rate_hz=RATE, frame=200, hop=200, bands=16)
    edges = np.linspace(0, 1127 * math.log1p(band.top_hz / 700), band.bands + 2)[1:-1]
    pitch = int(np.abs(edges - 1127 * math.log1p(WORD_HZ / 700)).argmin())
    heard = float((newest[:, pitch] - np.median(newest, axis=1)).max())
    sure = 1.0 / (1.0 + math.exp(4.0 - heard))
    return ClassScores((1.0 - sure, sure))


def verified(ask: Ask) -> bool:
    """The larger model: hears how long it lasted."""
    (sound,) = ask.window.values()
    parts = np.abs(np.fft.rfft(sound.reshape(-1, 200)))[:, round(WORD_HZ * 200 / RATE)]
    return int(np.sum(parts > 1e5)) >= 5


def report(verify: bool = False, trigger: Trigger | None = None, **settings: Any) -> tuple[WakeReport, Watch]:
    stage = LadderStage(name="s", kind="classes", gate=GateSpec("confidence", 0.8, ("no",)), labels=("no", "yes"))
    looks = Looks(Gate(stage), WindowFeatures(FEATURES, WINDOW, STEP))
    watch = Watch(WatchSettings(by="row", window=WINDOW, step=STEP, **settings), trigger, looks)
    sound, words = STREAM
    wakes = []
    for begin in range(0, len(sound), 160):
        now = begin / RATE
        effects = watch.handle(Sampled({"sound": sound[begin : begin + 160]}), now)
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Look):
                effects += watch.handle(Looked(scores(effect)), now)
            elif isinstance(effect, Ask) and (not verify or verified(effect)):
                wakes.append(now)
    return score_wakes(wakes, words, len(sound) / RATE / 3600.0, within_s=0.3), watch


STREAM = stream()


def test_an_eager_model_alone_hears_every_word_and_much_else():
    found, _ = report()
    assert found.missed == 0
    assert found.false_accepts >= 5
    assert found.repeats > 0


def test_cooling_down_hears_a_word_once():
    found, _ = report(cool_down_s=0.7)
    assert (found.missed, found.repeats) == (0, 0)


def test_smoothing_takes_a_click_for_no_word():
    found, _ = report(smooth=3, cool_down_s=0.7)
    assert (found.missed, found.false_accepts) == (0, 0)


def test_patience_takes_a_click_for_no_word():
    found, _ = report(patience=3, cool_down_s=0.7)
    assert (found.missed, found.false_accepts) == (0, 0)


def test_the_next_stage_verifies():
    eager, _ = report()
    found, _ = report(verify=True)
    assert (found.missed, found.false_accepts) == (0, 0)
    assert eager.false_accepts > 0


def test_a_trigger_spares_the_model_most_of_its_looks_and_misses_nothing():
    _, always = report(smooth=3, cool_down_s=0.7)
    found, watch = report(smooth=3, cool_down_s=0.7, trigger=Trigger(SoundLevel(on_at=-30.0, off_at=-35.0)))
    assert (found.missed, found.false_accepts) == (0, 0)
    assert watch.counts.looks < 0.7 * always.counts.looks
