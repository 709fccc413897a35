"""The features that a manifest can name, and what a row of them makes of a sample: its shape, its price, its mistakes.

A new feature is a struct in `preprocessing.py` or beside it, a line in this union, and a room in
`cascade/inference/features` with a line in the table there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from cascade.release.preprocessing import (
    MAX_ELEMENTS,
    Channels,
    Check,
    Dequantise,
    LowPass,
    Normalise,
    Quantise,
    Resample,
    Reshape,
    Resize,
    Rssi,
    Shape,
    Transpose,
    Window,
    sensible,
)
from cascade.release.spectra import LogMel, Mfcc

Feature: TypeAlias = (
    Normalise | Reshape | Transpose | Check | Channels | Window | LowPass | Resample | LogMel | Mfcc | Resize | Rssi
    | Quantise | Dequantise
)  # fmt: skip


def shape_after(features: Sequence[Feature], shape: Shape) -> Shape:
    """Of one sample; `ValueError` with what can't be, and where."""
    return _walked(features, shape)[0]


def multiply_adds_of(features: Sequence[Feature], shape: Shape) -> int:
    """What they cost for one sample."""
    return _walked(features, shape)[1]


def _walked(features: Sequence[Feature], shape: Shape) -> tuple[Shape, int]:
    spent, most = 0, max(MAX_ELEMENTS, math.prod(shape))
    for index, feature in enumerate(features):
        try:
            _check_place(feature, features[:index])
            spent += feature.multiply_adds(shape) if not isinstance(feature, Check) else 0
            shape = feature.after(shape)
            sensible(math.prod(shape) <= most, f"{math.prod(shape)} numbers of one sample")
        except ValueError as error:
            name = type(feature).__struct_config__.tag
            raise ValueError(f"feature {index + 1} ({name}): {error}") from None
    return shape, spent


def _check_place(feature: Feature, before: Sequence[Feature]) -> None:
    """What judges a sample is asked before anything is done to it."""
    sensible(not before or not isinstance(feature, Check), "a check comes first: it is about what was sensed")
    raw = all(isinstance(each, Check | Channels) for each in before)
    sensible(raw or not isinstance(feature, Rssi), "signal strengths come as they were heard, before other features")
