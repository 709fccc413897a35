"""A stage that looks at a stream, window after window: what it carries from one to the next goes out and comes back.

The memory is the watch's. Here a window, and what was carried, become what the model is fed; its outputs become a
prediction and what is to be carried on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from cascade.adapters.energy.meter import Meter
from cascade.adapters.stage_inputs import Array, InputReader, read_sample
from cascade.errors import BadInput
from cascade.inference.watch_words import Look, Looked, Tensors
from cascade.messages import Energy, Prediction
from cascade.release.bundle import Costs


class LookRan(NamedTuple):
    """How one look went."""

    looked: Looked
    ms: float = 0.0
    joules: float = 0.0
    energy: Energy = Energy.UNKNOWN
    why: str = ""
    """Of a look that failed, or was refused."""


class LookingStage(Protocol):
    """A loaded stage."""

    @property
    def readers(self) -> Sequence[InputReader]: ...

    def run_once(self, inputs: Mapping[str, Array]) -> tuple[Prediction, Mapping[str, Array]]:
        """The prediction of one sample, and all outputs."""


def look_with(stage: LookingStage, look: Look, meter: Meter, costs: Costs) -> LookRan:
    """Never raises: a model that fails on a window fails on that window."""
    mark, began_s = meter.begin(), time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            prediction, outputs = stage.run_once(_inputs(stage.readers, look))
        looked = Looked(prediction, _carried(stage.readers, outputs))
    except BadInput as error:
        return LookRan(Looked(None, bad_input=True), why=str(error))
    except Exception as error:  # noqa: BLE001  # an engine may raise anything; the stream goes on
        return LookRan(Looked(None), why=f"{type(error).__name__}: {str(error)[:300]}")
    spent = meter.spent(mark, costs, 1)
    return LookRan(looked, (time.perf_counter() - began_s) * 1000.0, spent.joules, spent.energy)


def _inputs(readers: Sequence[InputReader], look: Look) -> dict[str, Array]:
    asked = [reader for reader in readers if reader.asked]
    window = _named(look.window, asked)
    inputs = {}
    for reader in asked:
        prepared = read_sample(reader, window, look.features)
        inputs[reader.model_input] = reader.placed(prepared)
    for reader in readers:
        if not reader.asked:
            state = look.carried.get(reader.spec.tensor)
            inputs[reader.model_input] = reader.given(1) if state is None else state
    return inputs


def _named(window: Tensors, asked: Sequence[InputReader]) -> Tensors:
    """A single array is the only tensor that the model reads, whatever the sensor calls it."""
    tensors = {reader.spec.tensor for reader in asked}
    return dict(zip(tensors, window.values(), strict=True)) if len(window) == len(tensors) == 1 else window


def _carried(readers: Sequence[InputReader], outputs: Mapping[str, Array]) -> Tensors:
    return {reader.spec.tensor: outputs[reader.spec.carried] for reader in readers if reader.spec.carried}
