"""`sound_level`: how loud a stretch of sound is."""

from __future__ import annotations

import numpy as np

from cascade.errors import BadInput
from cascade.inference.triggers.spec import SoundLevel
from cascade.inference.triggers.trigger import Array, decibels, full_scale_of


class HearsLoudness:
    def __init__(self, spec: SoundLevel) -> None:
        self._full_scale = spec.full_scale

    def level(self, signal: Array) -> float:
        """One row alone, or channels in the place of rows, would be silence however loud it is."""
        if signal.ndim not in (1, 2) or len(signal) < 2:
            raise BadInput(f"a stretch of sound of shape {signal.shape}: expected 2 rows or more")
        deviation = float(np.std(signal, axis=0, dtype=np.float64).max())
        return decibels(deviation / full_scale_of(signal, self._full_scale))

    def forget(self) -> None:
        """Each stretch is judged by itself."""
