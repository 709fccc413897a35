"""Computed as the rows come, or all at once: the same to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.inference.features import apply_features
from cascade.inference.features.streaming import Streaming, WindowFeatures
from cascade.release.features import Feature
from cascade.release.preprocessing import Channels, Check, LowPass, Normalise, Quantise, Resample, Window
from cascade.release.spectra import LogMel, Mfcc

CHAINS: list[tuple[Feature, ...]] = [
    (LogMel(rate_hz=1000, frame=32, hop=10, bands=8),),
    (Normalise(divide=32768.0), Mfcc(rate_hz=1000, frame=25, hop=10, bands=12, coefficients=5)),
    (LowPass(rate_hz=1000, taps=9, keep_every=2), LogMel(rate_hz=500, frame=16, hop=5, bands=6)),
    (Resample(from_hz=2, to_hz=3, crossings=3),),
    (Resample(from_hz=300, to_hz=200, crossings=4), Quantise(scale=0.1)),
    (LowPass(rate_hz=100, taps=5), Window(length=4, step=3)),
]
names = [" ".join(type(feature).__name__ for feature in chain) for chain in CHAINS]


@pytest.mark.parametrize("chain", CHAINS, ids=names)
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 300), max_size=12))
@settings(max_examples=25, deadline=None)
def test_however_a_stream_is_cut_its_features_are_those_of_the_whole(
    chain: tuple[Feature, ...], seed: int, cuts: list[int]
) -> None:
    sound = np.random.default_rng(seed).integers(-3000, 3000, 300).astype(np.int16)
    streaming = Streaming(chain)
    parts = [streaming.push(part) for part in np.split(sound, sorted(cuts))]
    assert np.concatenate(parts).tobytes() == apply_features(sound[None], chain)[0].tobytes()


def test_several_sensors_are_streamed_side_by_side() -> None:
    chain = (Channels(keep=(2, 0)), LowPass(rate_hz=100, taps=7, keep_every=2))
    readings = np.random.default_rng(0).normal(size=(60, 3))
    streaming = Streaming(chain, row=(3,))
    parts = [streaming.push(part) for part in np.array_split(readings, 13)]
    assert np.concatenate(parts).tobytes() == apply_features(readings[None], chain)[0].tobytes()


@given(
    chain=st.sampled_from(CHAINS),
    window=st.integers(80, 120),
    step=st.sampled_from([1, 7, 10, 12, 20, 30, 150]),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_windows_of_a_stream_have_the_features_that_each_window_has_alone(
    chain: tuple[Feature, ...], window: int, step: int, cuts: list[int]
) -> None:
    sound = np.random.default_rng(step).integers(-3000, 3000, 600).astype(np.int16)
    features, found = WindowFeatures(chain, window, step), []
    for part in np.split(sound, sorted(cuts)):
        features.push(part)
        while (made := features.next()) is not None:
            found.append(made.tobytes())
    begins = range(0, 600 - window + 1, step)
    assert found == [apply_features(sound[None, begin : begin + window], chain).tobytes() for begin in begins]


def test_what_fits_the_step_is_computed_once_and_the_rest_for_each_window() -> None:
    chain = (Check(), LogMel(rate_hz=1000, frame=32, hop=10, bands=8), Normalise(subtract=(1.0,) * 8))
    assert [WindowFeatures(chain, 100, step).streamed for step in (10, 20, 15)] == [3, 3, 1]


def test_after_a_gap_nothing_from_before_it_is_used() -> None:
    chain = (LogMel(rate_hz=1000, frame=32, hop=10, bands=8),)
    sound = np.random.default_rng(7).normal(size=300)
    features = WindowFeatures(chain, 100, 20)
    features.push(sound[:170])
    features.reset()
    features.push(sound[200:])
    made = features.next()
    assert made is not None
    assert made.tobytes() == apply_features(sound[None, 200:], chain).tobytes()
