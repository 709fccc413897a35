"""`voice`: how far the band of voices stands above its background.

The background follows the quietest that was heard lately: it falls at once and rises slowly, so that a word does not
become background while it is spoken, and a fan that is switched on does within seconds.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from cascade.errors import BadInput
from cascade.inference.triggers.spec import Voice
from cascade.inference.triggers.trigger import Array, decibels, full_scale_of

LEAST_ROWS = 16


class HearsVoice:
    def __init__(self, spec: Voice) -> None:
        self._spec = spec
        self._background: float | None = None

    def level(self, signal: Array) -> float:
        if signal.ndim not in (1, 2) or len(signal) < LEAST_ROWS:
            raise BadInput(f"a stretch of sound of shape {signal.shape}: expected {LEAST_ROWS} rows or more")
        loud = self._loudness(signal)
        spec = self._spec
        risen = math.inf if self._background is None else self._background
        risen += spec.rise_db_per_s * len(signal) / spec.rate_hz
        self._background = max(spec.least_db, min(loud, risen))
        return loud - self._background

    def forget(self) -> None:
        """The background is that of the room, and stays."""

    def _loudness(self, signal: Array) -> float:
        mono = signal.astype(np.float64) if signal.ndim == 1 else signal.mean(axis=1, dtype=np.float64)
        taper, begin, end = _band(len(mono), self._spec.rate_hz, self._spec.low_hz, self._spec.high_hz)
        parts = np.fft.rfft((mono - mono.mean()) * taper)[begin:end]
        power = 2.0 * float(np.sum(parts.real**2 + parts.imag**2)) / (len(mono) * float(np.sum(taper**2)))
        return decibels(math.sqrt(power) / full_scale_of(signal, self._spec.full_scale))


@lru_cache(maxsize=64)
def _band(rows: int, rate_hz: float, low_hz: float, high_hz: float) -> tuple[Array, int, int]:
    """A taper, and the bins of the band: one at least."""
    width = rate_hz / rows
    begin = min(rows // 2, max(1, math.ceil(low_hz / width)))
    return np.hanning(rows), begin, max(begin + 1, min(rows // 2 + 1, math.floor(high_hz / width) + 1))
