"""Mel-frequency cepstral coefficients: the cosine transform of log-mel bands."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.inference.features.spectrum import spectrum
from cascade.release.spectra import Mfcc

Array = npt.NDArray[Any]


def mfcc(batch: Array, feature: Mfcc) -> Array:
    bands = spectrum(batch, feature)
    waves = _waves(feature)
    coefficients = np.empty((*bands.shape[:-1], len(waves)))
    for index, wave in enumerate(waves):
        np.add.reduce(bands * wave, axis=-1, out=coefficients[..., index])
    return coefficients.astype(np.float32)


@lru_cache(maxsize=64)
def _waves(feature: Mfcc) -> Array:
    """One cosine per coefficient (DCT-II), scaled and liftered."""
    order = np.arange(feature.coefficients)[:, None]
    waves = np.cos(np.pi * order * (np.arange(feature.bands) + 0.5) / feature.bands) * np.sqrt(2.0 / feature.bands)
    if feature.cosine == "ortho":
        waves[0] /= np.sqrt(2.0)
    if feature.lifter:
        waves *= 1.0 + 0.5 * feature.lifter * np.sin(np.pi * order / feature.lifter)
    return np.asarray(waves)
