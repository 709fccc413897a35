"""Shift and scale."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.inference.features import apply_features
from cascade.release.bundle import Normalise


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64", "float16", "float32", "float64", "bool"])
def test_any_type_of_number_becomes_float32(dtype: str) -> None:
    batch = np.array([[0, 1]], dtype=dtype)
    scaled = apply_features(batch, (Normalise(subtract=0.5, divide=0.25),))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[-2.0, 2.0]]


def test_unsigned_numbers_do_not_wrap_below_zero() -> None:
    assert apply_features(np.array([[0]], np.uint8), (Normalise(subtract=128),)).tolist() == [[-128.0]]


def test_division_is_exact_to_the_last_bit() -> None:
    pixels = np.arange(256, dtype=np.uint8)[None]
    expected = (pixels.astype(np.float32) / np.float32(255)).tobytes()
    assert apply_features(pixels, (Normalise(divide=255.0),)).tobytes() == expected


def test_what_came_is_not_changed() -> None:
    batch = np.ones((2, 2), np.float32)
    batch.flags.writeable = False
    apply_features(batch, (Normalise(subtract=1.0), Normalise(divide=2.0)))
    assert batch.sum() == 4


def test_features_follow_each_other() -> None:
    assert apply_features(np.array([[10]]), (Normalise(subtract=2), Normalise(divide=4))).tolist() == [[2.0]]


def test_without_features_the_batch_stays_as_it_is() -> None:
    batch = np.array([[1]], np.uint8)
    assert apply_features(batch, ()) is batch
