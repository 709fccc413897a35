"""`sound_level`: how loud a stretch of sound is."""

from __future__ import annotations

import numpy as np

from cascade.inference.triggers.spec import SoundLevel
from cascade.inference.triggers.trigger import Array, decibels, full_scale_of


class HearsLoudness:
    def __init__(self, spec: SoundLevel) -> None:
        self._full_scale = spec.full_scale

    def level(self, signal: Array) -> float:
        deviation = float(np.std(signal, axis=0, dtype=np.float64).max()) if signal.ndim else 0.0
        return decibels(deviation / full_scale_of(signal, self._full_scale))

    def forget(self) -> None:
        """Each stretch is judged by itself."""
