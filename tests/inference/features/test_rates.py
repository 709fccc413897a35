"""Low pass, decimation, resampling and windows: against sums written out, and against what waves do."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest

from cascade.inference.features import apply_features
from cascade.release.features import shape_after
from cascade.release.preprocessing import LowPass, Resample, Window


def tone(hertz: float, rate_hz: float, rows: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(rows) / rate_hz)


def low_pass_by_hand(sound: list[float], feature: LowPass) -> list[float]:
    middle = feature.taps // 2
    turn = 2.0 * math.pi * feature.cutoff / feature.rate_hz
    weights = []
    for tap in range(feature.taps):
        at = tap - middle
        sinc = 1.0 if at == 0 else math.sin(turn * at) / (turn * at)
        weights.append(sinc * (0.54 - 0.46 * math.cos(2.0 * math.pi * tap / (feature.taps - 1))))
    whole = sum(weights)
    begins = range(0, len(sound) - feature.taps + 1, feature.keep_every)
    return [sum(sound[begin + tap] * weights[tap] / whole for tap in range(feature.taps)) for begin in begins]


@pytest.mark.parametrize("feature", [LowPass(rate_hz=100, cutoff_hz=20, taps=15), LowPass(rate_hz=100, keep_every=3)])
def test_a_low_pass_is_the_sum_that_it_should_be(feature: LowPass) -> None:
    sound = np.random.default_rng(1).normal(size=200)
    made = apply_features(sound[None], (feature,))[0]
    np.testing.assert_allclose(made, low_pass_by_hand(sound.tolist(), feature), rtol=1e-5, atol=1e-6)


def test_what_would_fold_over_is_gone_before_rows_are_left_out() -> None:
    feature = LowPass(rate_hz=1000, keep_every=4, taps=101)
    kept, folding = (apply_features(tone(hertz, 1000, 2000)[None], (feature,)) for hertz in (40.0, 210.0))
    assert np.abs(kept).max() == pytest.approx(1.0, abs=0.02)
    assert np.abs(folding).max() < 0.005


@pytest.mark.parametrize(("old", "new"), [(8000, 16000), (16000, 8000), (48000, 16000), (44100, 16000), (100, 60)])
def test_a_resampled_tone_is_the_tone_at_the_new_rate(old: int, new: int) -> None:
    feature = Resample(from_hz=old, to_hz=new)
    hertz = 0.1 * min(old, new)
    made = apply_features(tone(hertz, old, 4000)[None], (feature,))[0]
    begin_s = (feature.half - 1) / old
    expected = np.sin(2 * np.pi * hertz * (np.arange(len(made)) / new + begin_s))
    assert np.abs(made - expected).max() < 0.01


def test_resampling_is_about_what_scipy_makes_of_it() -> None:
    signal = pytest.importorskip("scipy.signal")
    sound = np.cumsum(np.random.default_rng(2).normal(size=3000)) * 0.05
    sound -= sound.mean()
    made = apply_features(sound[None], (Resample(from_hz=300, to_hz=200, crossings=16, pad=True),))[0]
    theirs = signal.resample_poly(sound, 2, 3)
    assert np.abs(made - theirs)[50:-50].max() < 0.05 * np.abs(sound).max()


def test_many_places_between_two_rows_are_summed_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, feature = np.random.default_rng(3).normal(size=(2, 500, 3)), Resample(from_hz=50, to_hz=70)
    few = apply_features(sound, (feature,))
    monkeypatch.setattr(import_module("cascade.inference.features.resample"), "FEW_PHASES", 0)
    assert apply_features(sound, (feature,)).tobytes() == few.tobytes()


@pytest.mark.parametrize(
    "feature", [LowPass(rate_hz=100, keep_every=2, pad=True), Resample(from_hz=2, to_hz=1, pad=True)]
)
def test_padded_the_number_of_rows_is_the_ratio_of_the_rates(feature: LowPass | Resample) -> None:
    made = apply_features(np.ones((1, 200, 3)), (feature,))
    assert made.shape[1:] == shape_after((feature,), (200, 3)) == (100, 3)
    np.testing.assert_allclose(made, 1.0, rtol=1e-6)


def test_windows_overlap() -> None:
    made = apply_features(np.arange(7)[None], (Window(length=3, step=2),))
    assert made.tolist() == [[[0, 1, 2], [2, 3, 4], [4, 5, 6]]]
    assert apply_features(np.zeros((1, 7, 2)), (Window(length=3, step=2),)).shape == (1, 3, 3, 2)


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (LowPass(rate_hz=100, cutoff_hz=30, keep_every=2), "expected less than 25 Hz, above which waves fold over"),
        (LowPass(rate_hz=100, taps=4), "4 taps, an even number"),
        (LowPass(rate_hz=100, taps=101), "a low pass of 101 rows on a sample of 50"),
        (Resample(from_hz=44100, to_hz=44099), "at most 2000"),
        (Window(length=51, step=1), "a window of 51 rows on a sample of 50"),
    ],
)
def test_rates_that_can_not_be_are_said(feature: LowPass | Resample | Window, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shape_after((feature,), (50,))
