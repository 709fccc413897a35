"""The triggers there are: what looks at each sample before any model does. A new one is a struct in `spec.py`, a room
here, and a line in this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cascade.errors import BadInput
from cascade.inference.triggers.activity import FeelsActivity
from cascade.inference.triggers.change import SeesChange
from cascade.inference.triggers.motion import SeesMotion
from cascade.inference.triggers.sound_level import HearsLoudness
from cascade.inference.triggers.spec import Activity, AnyTrigger, Change, Motion, SoundLevel, TriggerSpec, Voice
from cascade.inference.triggers.trigger import Array, Hysteresis, Listener
from cascade.inference.triggers.voice import HearsVoice

TRIGGERS: Mapping[type[TriggerSpec], Callable[[Any], Listener]] = {
    Activity: FeelsActivity,
    Change: SeesChange,
    Motion: SeesMotion,
    SoundLevel: HearsLoudness,
    Voice: HearsVoice,
}


class Trigger:
    """A trigger on one stream: a listener, and from which level on it counts."""

    def __init__(self, spec: AnyTrigger) -> None:
        self._tensor = spec.tensor
        self._listener = TRIGGERS[type(spec)](spec)
        self._hysteresis = Hysteresis(spec.on_at, spec.falls_at)

    @property
    def on(self) -> bool:
        return self._hysteresis.on

    def hear(self, tensors: Mapping[str, Array]) -> bool:
        """Whether it is on, after this sample. `BadInput` for one that it can't hear."""
        signal = tensors.get(self._tensor) if self._tensor else next(iter(tensors.values()), None)
        if signal is None:
            raise BadInput(f"no tensor {self._tensor!r} for the trigger; there are {', '.join(tensors) or 'none'}")
        if not signal.size:
            raise BadInput("a sample with nothing in it")
        with np.errstate(all="ignore"):
            return self._hysteresis.hear(self._listener.level(signal))

    def forget(self) -> None:
        self._listener.forget()
        self._hysteresis.on = False
