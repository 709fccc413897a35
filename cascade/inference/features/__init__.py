"""What is done to an input before the model sees it. Each room is one feature: a pure function of a batch of arrays.

A new one is a struct in the union `Feature` (`cascade/release/features.py`), a room here, and a line in this table.
Every sample of a batch, and every row that needs no others, is computed by itself: its numbers are the same to the last
bit whatever stands beside it. `streaming.py` leans on that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from cascade.inference.features import axes
from cascade.inference.features import check as checks
from cascade.inference.features import rssi as signal_strengths
from cascade.inference.features.channels import channels
from cascade.inference.features.low_pass import low_pass
from cascade.inference.features.mfcc import mfcc
from cascade.inference.features.normalise import normalise
from cascade.inference.features.quantise import dequantise, quantise
from cascade.inference.features.resample import resample
from cascade.inference.features.resize import resize
from cascade.inference.features.spectrum import log_mel
from cascade.inference.features.window import window
from cascade.release.features import Feature
from cascade.release.preprocessing import (
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
    Transpose,
    Window,
)
from cascade.release.spectra import LogMel, Mfcc

Array = npt.NDArray[Any]

FEATURES: Mapping[type[Feature], Callable[[Array, Any], Array]] = {
    Channels: channels,
    Check: checks.check,
    Dequantise: dequantise,
    LogMel: log_mel,
    LowPass: low_pass,
    Mfcc: mfcc,
    Normalise: normalise,
    Quantise: quantise,
    Resample: resample,
    Reshape: axes.reshape,
    Resize: resize,
    Rssi: signal_strengths.rssi,
    Transpose: axes.transpose,
    Window: window,
}

_VARIES = Check()

FLAWS: Mapping[type[Feature], Callable[[Array, Any], dict[int, str]]] = {
    Check: checks.flaws,
    Rssi: signal_strengths.flaws,
    LogMel: lambda batch, feature: checks.flaws(batch, _VARIES),
    Mfcc: lambda batch, feature: checks.flaws(batch, _VARIES),
    Resize: lambda batch, feature: checks.flaws(batch, _VARIES),
}
"""Which samples of a batch no model should be asked about. A stage with a `Check` has said itself what it refuses; a
stage that hears or sees, and says nothing, refuses what doesn't vary at all."""


def apply_features(batch: Array, features: Sequence[Feature]) -> Array:
    """The batch (its first axis is the sample) after all features, in order. The array given is never changed."""
    for feature in features:
        batch = FEATURES[type(feature)](batch, feature)
    return batch


def judge_of(features: Sequence[Feature]) -> Callable[[Array], dict[int, str]] | None:
    """What tells bad samples from good ones, before any feature; None where all are good."""
    judged = [feature for feature in features if type(feature) in FLAWS]
    if any(isinstance(feature, Check) for feature in judged):
        judged = [feature for feature in judged if isinstance(feature, Check | Rssi)]
    if not judged:
        return None

    def judge(batch: Array) -> dict[int, str]:
        bad: dict[int, str] = {}
        for feature in judged:
            bad.update(FLAWS[type(feature)](batch, feature))
        return bad

    return judge
