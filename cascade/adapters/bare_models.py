"""A model file that nobody has described yet: what it takes, what it gives, and what its scores look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings, Model, TensorSpec
from cascade.adapters.backends.first_load import FirstLoads
from cascade.errors import BundleRejected, MissingDependency

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

FORMATS = {".onnx": "onnx", ".tflite": "tflite"}
TRIED_ON = 32
"""Samples of noise. The logits of so many are not all between 0 and 1."""
_SETTINGS = EngineSettings()


class BareModel(NamedTuple):
    """A model of one input, loaded."""

    path: Path
    format: str
    files: tuple[Path, ...]
    """The model file first, then what it refers to."""
    model: Model

    @property
    def input(self) -> TensorSpec:
        return self.model.inputs[0]

    @property
    def takes(self) -> tuple[int | None, ...]:
        """The shape of one sample, as far as the file says."""
        return self.input.shape[1:]

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    def output_named(self, name: str) -> str:
        """`name`, or of a model with one output that one; `BundleRejected` where it isn't clear which."""
        names = [spec.name for spec in self.model.outputs]
        if name in names:
            return name
        if name or len(names) != 1:
            raise BundleRejected(f"{self.path.name}: which output? It has {', '.join(names)}")
        return names[0]

    def scores(self, batch: Array, output: str) -> Array:
        """What it gives for these samples, one row each. `BundleRejected` where it fails on them."""
        try:
            given = self.model.run({self.input.name: batch})[output]
        except Exception as error:  # an engine may raise anything, and the file is refused all the same
            raise BundleRejected(f"{self.path.name}: fails on the first samples it is tried on: {error}") from error
        if not given.ndim or len(given) != len(batch):
            raise BundleRejected(f"{self.path.name}: {len(batch)} samples gave an output of shape {given.shape}")
        return given.reshape(len(batch), -1)


def look_at(path: Path, shape: Shape, loads: FirstLoads) -> BareModel:
    """Load it, in a process of its own first. `shape` is that of one sample, where the file leaves it open."""
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise BundleRejected(f"{path}: expected a model file, {' or '.join(FORMATS)}")
    runs = engine(name)
    reason = runs.missing()
    if reason:
        raise MissingDependency(f"{path}: {reason}")
    files = runs.inspect(path, _SETTINGS)
    loads.check(runs, files, _SETTINGS, {"": shape} if shape else {})
    model = runs.load(path, _SETTINGS)
    if len(model.inputs) != 1:
        model.close()
        raise BundleRejected(
            f"{path}: has the inputs {', '.join(spec.name for spec in model.inputs)}; only models of one input can be "
            "described from here (a manifest can feed several: cascade.adapters.bundle_folder.write_bundle)"
        )
    return BareModel(path, name, files, model)


def noise(shape: Shape, dtype: str) -> Array:
    """Samples as a sensor could give them: whole numbers over the range of their type, others from 0 to 1."""
    chance = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return chance.integers(0, 2, (TRIED_ON, *shape)).astype(bool)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return chance.integers(limits.min, limits.max, (TRIED_ON, *shape), kind, endpoint=True)
    return chance.random((TRIED_ON, *shape)).astype(kind)


def activation_for(scores: Array) -> Literal["none", "softmax", "sigmoid"]:
    """What makes probabilities of these rows: nothing, where all are between 0 and 1 already."""
    if bool(np.all((scores >= 0.0) & (scores <= 1.001))):
        return "none"
    return "softmax" if scores.shape[1] > 1 else "sigmoid"


def drawn(shape: Sequence[int | None]) -> str:
    return "×".join("any" if size is None else str(size) for size in shape) or "a single number"
