"""Images, channels, signal strengths, whole numbers, and what a broken sensor gives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cascade.errors import BadInput
from cascade.inference.features import FEATURES, apply_features, judge_of
from cascade.release.features import Feature, shape_after
from cascade.release.preprocessing import (
    Channels,
    Check,
    Dequantise,
    Normalise,
    Quantise,
    Reshape,
    Resize,
    Rssi,
    Transpose,
)
from cascade.release.spectra import LogMel

IMAGE = np.random.default_rng(4).integers(0, 256, (7, 10), np.uint8)


def bilinear(image: np.ndarray, height: int, width: int) -> list[list[float]]:
    def place(at: int, size: int, given: int) -> tuple[int, int, float]:
        middle = min(max((at + 0.5) * given / size - 0.5, 0.0), given - 1.0)
        low = int(middle)
        return low, min(low + 1, given - 1), middle - low

    rows = []
    for y in range(height):
        top, bottom, down = place(y, height, image.shape[0])
        row = []
        for x in range(width):
            left, right, along = place(x, width, image.shape[1])
            upper = image[top, left] * (1 - along) + image[top, right] * along
            lower = image[bottom, left] * (1 - along) + image[bottom, right] * along
            row.append(upper * (1 - down) + lower * down)
        rows.append(row)
    return rows


def area(image: np.ndarray, height: int, width: int) -> list[list[float]]:
    """Each pixel by how much of it lies under the new one."""

    def shares(at: int, size: int, given: int) -> list[float]:
        begin, end = at * given / size, (at + 1) * given / size
        return [max(0.0, min(end, each + 1) - max(begin, each)) / (end - begin) for each in range(given)]

    return [
        [
            sum(
                float(image[i, j]) * down * along
                for i, down in enumerate(shares(y, height, image.shape[0]))
                for j, along in enumerate(shares(x, width, image.shape[1]))
            )
            for x in range(width)
        ]
        for y in range(height)
    ]


@pytest.mark.parametrize("size", [(7, 10), (3, 4), (14, 23), (1, 1), (5, 30)])
def test_an_image_is_resized_as_the_formulae_say(size: tuple[int, int]) -> None:
    height, width = size
    soft = apply_features(IMAGE[None], (Resize(height=height, width=width),))[0]
    mean = apply_features(IMAGE[None], (Resize(height=height, width=width, how="area"),))[0]
    np.testing.assert_allclose(soft, bilinear(IMAGE, height, width), rtol=1e-5)
    np.testing.assert_allclose(mean, area(IMAGE, height, width), rtol=1e-5)


def test_the_nearest_pixel_is_the_one_under_the_middle() -> None:
    assert apply_features(np.arange(6)[None, None], (Resize(height=1, width=3, how="nearest"),)).tolist() == [
        [[1.0, 3.0, 5.0]]
    ]


@pytest.mark.parametrize("how", ["bilinear", "area", "nearest"])
def test_colours_are_resized_each_by_itself(how: str) -> None:
    colours = np.stack([IMAGE, IMAGE[::-1], 255 - IMAGE], axis=-1)
    whole = apply_features(colours[None], (Resize(height=4, width=4, how=how),))[0]
    single = apply_features(colours[None, :, :, 2], (Resize(height=4, width=4, how=how),))[0]
    assert whole[:, :, 2].tobytes() == single.tobytes()


def test_colours_are_normalised_each_by_its_own_numbers() -> None:
    batch = np.full((1, 2, 2, 3), 10, np.uint8)
    made = apply_features(batch, (Normalise(subtract=(1.0, 2.0, 3.0), divide=(1.0, 2.0, 7.0)),))
    assert made[0, 0, 0].tolist() == [9.0, 4.0, 1.0]


def test_axes_change_their_order_and_their_lengths() -> None:
    batch = np.arange(24).reshape(1, 2, 3, 4)
    assert apply_features(batch, (Transpose(order=(2, 0, 1)),)).tolist() == batch.transpose(0, 3, 1, 2).tolist()
    assert apply_features(batch, (Reshape(shape=(6, 4)),)).tolist() == batch.reshape(1, 6, 4).tolist()


def test_sensors_are_left_out_or_mixed() -> None:
    readings = np.array([[[1, 2, 3], [4, 5, 9]]], np.int16)
    assert apply_features(readings, (Channels(keep=(2, 0)),)).tolist() == [[[3, 1], [9, 4]]]
    assert apply_features(readings, (Channels(mean=True),)).tolist() == [[2.0, 6.0]]
    assert apply_features(readings, (Channels(keep=(0, 1), mean=True),)).tolist() == [[1.5, 4.5]]


def test_signal_strengths_become_shares_and_what_is_not_heard_is_nothing() -> None:
    heard = np.array([[100, -105, -50, 0, -120, 20]], np.int8)
    made = apply_features(heard.astype(np.int16), (Rssi(least_dbm=-100, power=2.0),))[0]
    np.testing.assert_allclose(made, [0.0, 0.0, 0.25, 1.0, 0.0, 1.0])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_numbers_are_quantised_half_to_even_and_held_in_range(dtype: str) -> None:
    numbers = np.array([[-1e9, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 1e9, math.inf]])
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    zero = 10
    made = apply_features(numbers, (Quantise(scale=0.5, zero_point=zero, dtype=dtype),))[0]
    expected = [min(max(round(max(-1e9, min(each, 1e9)) / 0.5) + zero, least), most) for each in numbers[0].tolist()]
    assert made.dtype.name == dtype
    assert made.tolist() == expected


def test_a_quantised_number_comes_back_within_half_a_step() -> None:
    numbers = np.linspace(-30, 30, 1001)[None]
    there_and_back = (Quantise(scale=0.25, zero_point=3), Dequantise(scale=0.25, zero_point=3))
    assert np.abs(apply_features(numbers, there_and_back) - numbers).max() <= 0.125


def test_nan_is_not_quantised() -> None:
    with pytest.raises(BadInput, match="NaN"):
        apply_features(np.array([[math.nan]]), (Quantise(scale=1.0),))


def judged(batch: np.ndarray, *features: Feature) -> dict[int, str]:
    judge = judge_of(features)
    return {} if judge is None else judge(batch)


def test_a_sensor_that_says_the_same_everywhere_is_told() -> None:
    batch = np.stack([np.zeros((4, 4)), np.eye(4)])
    assert list(judged(batch, Check())) == [0]
    assert judged(batch, Check(varies=False)) == {}
    assert judged(np.zeros((2, 1)), Check()) == {}


@pytest.mark.parametrize("feature", [LogMel(rate_hz=100, frame=8, hop=4, bands=4), Resize(height=2, width=2)])
def test_what_is_heard_or_seen_must_vary_unless_the_stage_says_otherwise(feature: Feature) -> None:
    silent = np.zeros((1, 4, 4), np.int16)
    assert "muted, covered or broken" in judged(silent, feature)[0]
    assert judged(silent, Check(varies=False), feature) == {}


def test_clipped_sound_is_told_by_how_much_of_it_is() -> None:
    loud = np.array([[-32768, 32767, 5, 6], [-32768, 4, 5, 6], [1, 2, 3, 4]], np.int16)
    assert judged(loud, Check(clipped_share=0.5)) == {0: "50% of it is clipped, from 50% on it is refused"}
    assert list(judged(loud / 32768.0, Check(clipped_share=0.2, highest=0.99))) == [0, 1]


def test_a_place_where_nothing_is_heard_is_told() -> None:
    assert judged(np.array([[100, 100], [100, -50]]), Rssi()) == {0: "no access point in it was heard"}


def test_what_was_not_heard_by_another_convention_is_not_the_strongest() -> None:
    bad = judged(np.array([[100, -60], [0, -60], [-0.5, -60]], np.float32), Rssi(absent=0.0))
    assert {row: why[:25] for row, why in bad.items()} == {0: "100 dBm is no signal stre"}
    assert not judged(np.array([[100, 0], [100, -60]], np.int8), Rssi(strongest_dbm=-30.0))


@pytest.mark.parametrize(
    ("features", "shape", "said"),
    [
        ((Resize(height=2, width=2),), (5,), "feature 1 .resize.: an image of shape"),
        ((Channels(keep=(3,)),), (5, 3), "channels .3,. of 3"),
        ((Channels(),), (5, 3), "keep nothing and mix nothing"),
        ((Channels(mean=True),), (3,), "which has none"),
        ((Normalise(), Check()), (3,), "feature 2 .check.: a check comes first"),
        ((Normalise(), Rssi()), (3,), "before other features"),
        ((Normalise(divide=(1.0, 0.0)),), (2,), "a normalisation by"),
        ((Normalise(divide=(1.0, 2.0)),), (3,), "wants as many numbers"),
        ((Quantise(scale=1.0, zero_point=300),), (3,), "outside int8"),
        ((Rssi(least_dbm=0.0),), (3,), "signal strengths from 0.0 to 0.0"),
        ((Resize(height=16_384, width=16_384),), (2, 2), "numbers of one sample"),
        ((Reshape(shape=(5,)),), (2, 3), "in the shape"),
        ((Transpose(order=(0, 0)),), (2, 3), "an order of axes"),
    ],
)
def test_settings_that_can_not_be_are_said(features: tuple[Feature, ...], shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shape_after(features, shape)


FRAMES = {"rate_hz": 10, "frame": 4, "hop": 2, "low_hz": 1}


@pytest.mark.parametrize("feature", sorted(FEATURES, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_feature_takes_any_finite_numbers_and_leaves_them_as_they_were(feature: type[Feature]) -> None:
    settings = {
        "Channels": {"keep": (0,)}, "Window": {"length": 3, "step": 2}, "LowPass": {"rate_hz": 10, "taps": 3},
        "Resample": {"from_hz": 2, "to_hz": 1, "crossings": 2}, "LogMel": FRAMES, "Mfcc": FRAMES,
        "Resize": {"height": 2, "width": 3}, "Reshape": {"shape": (4, 10)}, "Transpose": {"order": (1, 0)},
        "Quantise": {"scale": 1.0}, "Dequantise": {"scale": 1.0},
    }.get(feature.__name__, {})  # fmt: skip
    made = feature(**settings)
    shape = (40,) if feature.__name__ in ("LogMel", "Mfcc") else (20, 2)
    for dtype in ("bool", "uint8", "int16", "float32", "float64"):
        batch = np.ones((2, *shape), dtype)
        batch.flags.writeable = False
        after = apply_features(batch, (made,))
        assert after.shape == (2, *shape_after((made,), shape))
        assert np.isfinite(after).all()
