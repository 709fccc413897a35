"""Samples as programs have them, numpy arrays, made into the payload of a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cascade.adapters.bundle_folder import LoadedRelease
from cascade.errors import BadInput
from cascade.messages import DTYPES, Payload, Tensor

_LITTLE = {np.dtype(name).newbyteorder("<"): name for name in DTYPES}
"""To ask numpy for the name of a type takes longer than all else here."""

Sample: TypeAlias = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]


class TensorNames:
    """Which tensors the first model of each task reads: so that a single array need not be named."""

    def __init__(self, releases: Sequence[LoadedRelease]) -> None:
        self._by_task = {
            release.manifest.task: tuple(release.bundle.manifest.stages[0].asks_for) for release in releases
        }

    def of(self, task: str) -> tuple[str, ...]:
        return self._by_task.get(task, ())


def payload_of(sample: Sample, names: Sequence[str]) -> Payload:
    """`BadInput` where the sample is not numbers, or doesn't say which tensor it is."""
    if not isinstance(sample, Mapping):
        if len(names) != 1:
            raise BadInput(f"the model reads {len(names)} tensors ({', '.join(names)}): name each array")
        sample = {names[0]: sample}
    return tuple(_tensor(name, array) for name, array in sample.items())


def _tensor(name: str, array: npt.NDArray[Any]) -> Tensor:
    array = np.asarray(array)
    dtype = _LITTLE.get(array.dtype)
    if dtype is None:
        dtype = array.dtype.name
        if dtype not in DTYPES:
            raise BadInput(f"tensor {name}: found {dtype}, expected one of {', '.join(DTYPES)}")
        array = array.astype(array.dtype.newbyteorder("<"))
    return Tensor(name, dtype, array.shape, array.tobytes())
