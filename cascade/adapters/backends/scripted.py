"""An engine without a model: a small JSON file says what comes out, and what goes wrong. For tests and simulations.

    {"script": "echo", "inputs": {"x": [4]}, "outputs": {"y": [3]}, "at": 1}
        the outputs are numbers of the first input, from `at` on
    {"script": "fixed", "inputs": {"x": [4]}, "outputs": {"y": [3]}, "values": {"y": [0.1, 0.7, 0.2]}}
        always these
    {"script": "table", "inputs": {"x": [1]}, "outputs": {"y": [2]}, "rows": [[0.9, 0.1], [0.2, 0.8]]}
        number `at` of the first input says which row

With `echo` a test chooses per question what each tier will predict: it puts each tier's scores side by side into the
input. With `table` a recording of real predictions is played again. Every script may add faults, all of them counted or
marked, none by chance. On nothing but zeros, with which a model is tried before it is used, it does no wrong:

    "delay_ms": 5           each call takes that long, and `delay_ms_per_sample` more for each sample
    "fail_every": 3         every third call raises
    "fail_on": 99           a call with a sample whose first number is this raises
    "nan_on": 98            such a sample's outputs are NaN
    "wrong_shape": true     outputs are twice as wide as they should be
    "crash": true           loading it kills the process, as a hostile model file may do to an engine
    "hang": true            loading it never ends
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from cascade.adapters.backends.backend import Array, EngineSettings, TensorSpec
from cascade.adapters.backends.fitting import batch_of, fitted
from cascade.adapters.backends.model_file import mapped
from cascade.errors import ModelRejected

MAX_SCRIPT_BYTES = 64 * 1024 * 1024

Shape = tuple[Annotated[int, msgspec.Meta(ge=1, le=1 << 24)], ...]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON file."""

    script: Literal["echo", "fixed", "table"]
    inputs: Annotated[dict[str, Shape], msgspec.Meta(min_length=1)]
    outputs: Annotated[dict[str, Shape], msgspec.Meta(min_length=1)]
    at: Count = 0
    values: dict[str, list[float]] = {}
    rows: list[list[float]] = []
    delay_ms: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    delay_ms_per_sample: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    fail_every: Count = 0
    fail_on: float | None = None
    nan_on: float | None = None
    wrong_shape: bool = False
    crash: bool = False
    hang: bool = False

    def mistake(self) -> str | None:
        """What the types can't say: whether there are as many numbers as the outputs need."""
        sizes = {name: _elements(shape) for name, shape in self.outputs.items()}
        first = _elements(next(iter(self.inputs.values())))
        if self.script == "echo" and self.at + sum(sizes.values()) > first:
            return f"outputs want {sum(sizes.values())} numbers from {self.at} on; the first input has {first}"
        if self.script == "fixed" and {name: len(row) for name, row in self.values.items()} != sizes:
            return f"`values` must give {sizes}"
        if self.script == "table" and (not self.rows or any(len(row) != sum(sizes.values()) for row in self.rows)):
            return f"each row must have {sum(sizes.values())} numbers, and there must be one"
        if self.script == "table" and self.at >= first:
            return f"`at` is {self.at}; the first input has {first} numbers"
        return None


class ScriptedEngine:
    """Needs nothing."""

    name = "scripted"

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def inspect(self, path: Path, settings: EngineSettings) -> tuple[Path, ...]:
        _read(path, settings)
        return (path,)

    def load(self, path: Path, settings: EngineSettings) -> ScriptedModel:
        script = _read(path, settings)
        if script.crash:
            os.kill(os.getpid(), signal.SIGSEGV)
        while script.hang:
            time.sleep(1.0)
        return ScriptedModel(script)


def _read(path: Path, settings: EngineSettings) -> Script:
    with mapped(path, min(settings.max_model_bytes, MAX_SCRIPT_BYTES)) as raw:
        try:
            script = msgspec.json.decode(raw, type=Script)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ModelRejected(f"{path.name}: not a script: {error}") from error
    mistake = script.mistake()
    if mistake:
        raise ModelRejected(f"{path.name}: {mistake}")
    return script


class ScriptedModel:
    """A script, and how often it was called."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._calls = 0
        self._rows = np.array(script.rows, dtype=np.float32) if script.rows else None
        self.inputs = _specs(script.inputs)
        self.outputs = _specs(script.outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = fitted(self.inputs, inputs)
        samples = batch_of(self.inputs, arrays)
        first = arrays[self.inputs[0].name].reshape(samples, -1)
        tried = not first.any()
        if not tried:
            self._misbehave(first)
        rows = self._answers(first)
        if self._script.nan_on is not None:
            rows = np.where(first[:, :1] == np.float32(self._script.nan_on), np.float32(np.nan), rows)
        return self._as_outputs(rows, 1 if tried or not self._script.wrong_shape else 2)

    def _misbehave(self, first: Array) -> None:
        script = self._script
        self._calls += 1
        pause_ms = script.delay_ms + script.delay_ms_per_sample * len(first)
        if pause_ms:
            time.sleep(pause_ms / 1000.0)
        if script.fail_every and self._calls % script.fail_every == 0:
            raise RuntimeError(f"call {self._calls} fails, as the script says")
        if script.fail_on is not None and bool(np.any(first[:, 0] == np.float32(script.fail_on))):
            raise RuntimeError("a marked input, on which the script says to fail")

    def _answers(self, first: Array) -> Array:
        script, width = self._script, sum(_elements(spec.shape) for spec in self.outputs)
        if script.script == "echo":
            return first[:, script.at : script.at + width]
        if self._rows is not None and script.script == "table":
            rows: Array = self._rows[np.clip(first[:, script.at], 0, len(self._rows) - 1).astype(np.intp)]
            return rows
        row = np.concatenate([np.asarray(script.values[spec.name], dtype=np.float32) for spec in self.outputs])
        return np.tile(row, (len(first), 1))

    def _as_outputs(self, rows: Array, times: int) -> dict[str, Array]:
        outputs, at = {}, 0
        for spec in self.outputs:
            width = _elements(spec.shape)
            part = rows[:, at : at + width].reshape(len(rows), *(size or 1 for size in spec.shape[1:]))
            outputs[spec.name] = np.repeat(part, times, axis=-1)
            at += width
        return outputs

    def close(self) -> None:
        self._rows = None


def _specs(shapes: Mapping[str, Shape]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, np.dtype(np.float32), (None, *shape)) for name, shape in shapes.items())


def _elements(shape: tuple[int | None, ...]) -> int:
    """Of one sample: an open first axis counts once."""
    elements = 1
    for size in shape:
        elements *= size or 1
    return elements
