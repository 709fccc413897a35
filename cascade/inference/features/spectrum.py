"""Log-mel spectra: frames of sound, their spectra, mel bands, a logarithm.

In double precision, and each frame by itself: its numbers are the same to the last bit whichever frames stand beside
it, so that a stream and a whole agree. A product of matrices would not do that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.inference.features.window import framed
from cascade.release.spectra import LogMel, Spectrum

Array = npt.NDArray[Any]


def log_mel(batch: Array, feature: LogMel) -> Array:
    return spectrum(batch, feature).astype(np.float32)


def spectrum(batch: Array, feature: Spectrum) -> Array:
    """(samples, time) as (samples, frames, bands), in double precision."""
    frames = framed(batch, feature.frame, feature.hop)
    if feature.pre_emphasis:
        frames = _emphasised(frames.astype(np.float64), feature.pre_emphasis)
    parts = np.fft.rfft(frames * _taper(feature), n=feature.transform, axis=-1)
    strengths = parts.real**2 + parts.imag**2
    if feature.amplitude == "magnitude":
        np.sqrt(strengths, out=strengths)
    bands = _banded(strengths, _bands(feature))
    np.maximum(bands + feature.add, feature.floor, out=bands)
    return _LOGARITHMS[feature.log](bands)


_LOGARITHMS: Mapping[str, Callable[[Array], Array]] = {
    "e": np.log,
    "10": np.log10,
    "db": lambda bands: 10.0 * np.log10(bands),
}


def _emphasised(frames: Array, share: float) -> Array:
    """Within the frame, as Kaldi does: its first row loses a part of itself."""
    before = np.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
    return frames - share * before


@lru_cache(maxsize=64)
def _taper(feature: Spectrum) -> Array:
    turns = 2.0 * np.pi * np.arange(feature.frame) / feature.frame
    edge = {"hann": 0.5, "hamming": 0.54, "none": 1.0}[feature.taper]
    return edge - (1.0 - edge) * np.cos(turns)


class _Bands(NamedTuple):
    """Mel bands as runs of bins: between two neighbouring edges one triangle rises while the one before it falls."""

    first: int
    last: int
    starts: Array
    """Of each run, among the bins from first to last."""
    empty: Array
    """Runs without a bin."""
    rising: Array
    falling: Array
    heights: Array


def _banded(strengths: Array, bands: _Bands) -> Array:
    if bands.last <= bands.first:
        return np.zeros((*strengths.shape[:-1], len(bands.heights)))
    used = strengths[..., bands.first : bands.last]
    rising = np.add.reduceat(used * bands.rising, bands.starts, axis=-1)
    falling = np.add.reduceat(used * bands.falling, bands.starts, axis=-1)
    rising[..., bands.empty] = 0.0
    falling[..., bands.empty] = 0.0
    whole: Array = (rising[..., :-1] + falling[..., 1:]) * bands.heights
    return whole


@lru_cache(maxsize=64)
def _bands(feature: Spectrum) -> _Bands:
    mel, hertz = _SCALES[feature.mel]
    ends = mel(np.array([feature.low_hz, feature.top_hz]))
    edges = np.linspace(ends[0], ends[1], feature.bands + 2)
    edges_hz = hertz(edges)
    bins = np.arange(feature.transform // 2 + 1) * (feature.rate_hz / feature.transform)
    at = np.searchsorted(bins, edges_hz, side="left")
    along, corners = (mel(bins), edges) if feature.slopes_in == "mel" else (bins, edges_hz)
    first, last = int(at[0]), int(at[-1])
    run = np.repeat(np.arange(feature.bands + 1), np.diff(at))
    width = np.diff(corners)[run]
    rising = (along[first:last] - corners[run]) / width
    heights = 2.0 / (edges_hz[2:] - edges_hz[:-2]) if feature.equal_area else np.ones(feature.bands)
    starts = np.minimum(at[:-1] - first, max(0, last - first - 1))
    return _Bands(first, last, starts, np.diff(at) == 0, rising, 1.0 - rising, heights)


def _htk(hertz: Array) -> Array:
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


def _htk_hertz(mel: Array) -> Array:
    return np.asarray(700.0 * np.expm1(mel / 1127.0))


_LINEAR_HZ, _LINEAR_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27.0
"""Slaney's scale: straight up to 1000 Hz, then 27 steps for each factor of 6.4."""


def _slaney(hertz: Array) -> Array:
    above = np.log(np.maximum(hertz, _LINEAR_HZ) / _LINEAR_HZ) / _STEP
    return np.where(hertz < _LINEAR_HZ, hertz * 3.0 / 200.0, _LINEAR_MEL + above)


def _slaney_hertz(mel: Array) -> Array:
    above = _LINEAR_HZ * np.exp(_STEP * np.maximum(mel - _LINEAR_MEL, 0.0))
    return np.where(mel < _LINEAR_MEL, mel * 200.0 / 3.0, above)


_SCALES: Mapping[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "htk": (_htk, _htk_hertz),
    "slaney": (_slaney, _slaney_hertz),
}
