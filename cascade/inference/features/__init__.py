"""What is done to an input before the model sees it. Each room is one feature: a pure function of a batch of arrays.

A new one is a struct in the union `Feature` of `cascade/release/bundle.py`, a room here, and a line in this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from cascade.inference.features.normalise import normalise
from cascade.release.bundle import Feature, Normalise

FEATURES: Mapping[type[Feature], Callable[[npt.NDArray[Any], Any], npt.NDArray[Any]]] = {
    Normalise: normalise,
}


def apply_features(batch: npt.NDArray[Any], features: Sequence[Feature]) -> npt.NDArray[Any]:
    """The batch (its first axis is the sample) after all features, in order. The array given is never changed."""
    for feature in features:
        batch = FEATURES[type(feature)](batch, feature)
    return batch
