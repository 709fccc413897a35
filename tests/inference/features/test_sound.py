"""Log-mel and MFCC against the same formulae written as loops, and against scipy's cosine transform."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cascade.inference.features import apply_features
from cascade.release.features import shape_after
from cascade.release.spectra import LogMel, Mfcc, Spectrum

RATE = 8000.0


def htk(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def htk_hertz(mel: float) -> float:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def slaney(hertz: float) -> float:
    return hertz * 3.0 / 200.0 if hertz < 1000.0 else 15.0 + 27.0 * math.log(hertz / 1000.0) / math.log(6.4)


def slaney_hertz(mel: float) -> float:
    return mel * 200.0 / 3.0 if mel < 15.0 else 1000.0 * math.exp((mel - 15.0) * math.log(6.4) / 27.0)


def reference(sound: np.ndarray, feature: Spectrum) -> list[list[float]]:
    """Frame by frame, bin by bin, band by band."""
    to_mel, to_hertz = {"htk": (htk, htk_hertz), "slaney": (slaney, slaney_hertz)}[feature.mel]
    low, high = to_mel(feature.low_hz), to_mel(feature.high_hz or feature.rate_hz / 2)
    edges = [low + (high - low) * step / (feature.bands + 1) for step in range(feature.bands + 2)]
    rows = []
    for begin in range(0, len(sound) - feature.frame + 1, feature.hop):
        frame = [float(number) for number in sound[begin : begin + feature.frame]]
        frame = [each - feature.pre_emphasis * frame[max(0, at - 1)] for at, each in enumerate(frame)]
        frame = [each * _taper(feature, at) for at, each in enumerate(frame)]
        size = feature.fft or 2 ** math.ceil(math.log2(feature.frame))
        bins = [abs(number) for number in np.fft.fft(frame, size)[: size // 2 + 1]]
        bins = bins if feature.amplitude == "magnitude" else [number * number for number in bins]
        row = []
        for band in range(feature.bands):
            left, middle, right = edges[band : band + 3]
            total = 0.0
            for place, strength in enumerate(bins):
                hertz = place * feature.rate_hz / size
                at = to_mel(hertz)
                a, b, c = left, middle, right
                if feature.slopes_in == "hertz":
                    at, a, b, c = hertz, to_hertz(left), to_hertz(middle), to_hertz(right)
                total += strength * max(0.0, min((at - a) / (b - a), (c - at) / (c - b)))
            if feature.equal_area:
                total *= 2.0 / (to_hertz(right) - to_hertz(left))
            told = math.log(max(total + feature.add, feature.floor))
            row.append({"e": told, "10": told / math.log(10), "db": 10.0 * told / math.log(10)}[feature.log])
        rows.append(row)
    return rows


def _taper(feature: Spectrum, at: int) -> float:
    edge = {"hann": 0.5, "hamming": 0.54, "none": 1.0}[feature.taper]
    return edge - (1.0 - edge) * math.cos(2.0 * math.pi * at / feature.frame)


def sound(rows: int = 1000) -> np.ndarray:
    return np.random.default_rng(5).normal(0.0, 0.3, rows).astype(np.float32)


WAYS: list[dict[str, Any]] = [
    {},
    {"amplitude": "magnitude", "slopes_in": "mel", "add": 1e-6},
    {"mel": "slaney", "equal_area": True, "log": "10"},
    {"taper": "hamming", "log": "db", "low_hz": 300.0, "high_hz": 3000.0},
    {"pre_emphasis": 0.97, "taper": "none", "fft": 512, "floor": 1e-3},
    {"bands": 60},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_log_mel_is_what_its_formulae_say(way: dict[str, Any]) -> None:
    feature = LogMel(**{"rate_hz": RATE, "frame": 200, "hop": 80, "bands": 20} | way)
    made = apply_features(sound()[None], (feature,))[0]
    assert made.dtype == np.float32
    assert made.shape == shape_after((feature,), (1000,))
    np.testing.assert_allclose(made, reference(sound(), feature), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("cosine", ["ortho", "htk"])
@pytest.mark.parametrize("lifter", [0.0, 22.0])
def test_mfcc_is_the_cosine_transform_of_log_mel(cosine: Any, lifter: float) -> None:
    scipy_fft = pytest.importorskip("scipy.fft")
    settings: dict[str, Any] = {"rate_hz": RATE, "frame": 256, "hop": 128, "bands": 24}
    bands = reference(sound(), LogMel(**settings))
    expected = scipy_fft.dct(np.array(bands), type=2, norm="ortho")[:, :12]
    if cosine == "htk":
        expected[:, 0] *= math.sqrt(2.0)
    if lifter:
        expected *= [1.0 + lifter / 2.0 * math.sin(math.pi * order / lifter) for order in range(12)]
    made = apply_features(sound()[None], (Mfcc(**settings, coefficients=12, cosine=cosine, lifter=lifter),))[0]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    feature = LogMel(rate_hz=RATE, frame=256, hop=128, bands=30)
    edges = np.linspace(htk(feature.low_hz), htk(RATE / 2), 32)
    for hertz in (250.0, 900.0, 2500.0):
        tone = np.sin(2 * np.pi * hertz * np.arange(800) / RATE)
        loudest = int(apply_features(tone[None], (feature,))[0].mean(axis=0).argmax())
        assert edges[loudest] <= htk(hertz) <= edges[loudest + 2]


@pytest.mark.parametrize("made", [np.zeros(1000, np.int16), np.full(1000, 32767, np.int16), np.full(1000, 1e38)])
def test_silence_clipping_and_overflow_have_finite_features(made: np.ndarray) -> None:
    for feature in (LogMel(rate_hz=RATE, frame=200, hop=80), Mfcc(rate_hz=RATE, frame=200, hop=80)):
        assert np.isfinite(apply_features(made[None], (feature,))).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frame": 2000}, "frames of 2000 rows on a sample of 1000"),
        ({"high_hz": 5000.0}, "bands from 20 to 5000 Hz at a rate of 8000"),
        ({"low_hz": 4000.0}, "bands from 4000 to 4000 Hz"),
        ({"fft": 64}, "a transform of 64 for frames of 200"),
        ({"coefficients": 41}, "41 coefficients of 40 bands"),
    ],
)
def test_a_spectrum_that_can_not_be_is_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shape_after((Mfcc(**{"rate_hz": RATE, "frame": 200, "hop": 80} | settings),), (1000,))
