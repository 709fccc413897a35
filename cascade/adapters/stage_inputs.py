"""From the tensors of questions to one array per input of the model: checked sample by sample, stacked at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.errors import BadInput, PeerError
from cascade.inference.features import apply_features
from cascade.messages import DTYPES, Payload, Question, Tensor
from cascade.release.bundle import InputSpec
from cascade.wire.content import raw_data

Array = npt.NDArray[Any]


class Stacked(NamedTuple):
    """What could be read of a batch: arrays by input, which questions are in them, and why the others are not."""

    arrays: dict[str, Array]
    kept: Sequence[int]
    bad: Mapping[int, str]


class InputReader:
    """Reads one input. What it expects is worked out once."""

    def __init__(self, spec: InputSpec, model_input: str) -> None:
        self.spec = spec
        self.model_input = model_input
        self._name, self._shape, self._dtype_name = spec.tensor, spec.shape, spec.dtype
        self._dtype = np.dtype(spec.dtype)
        self._raw_bytes = DTYPES[spec.dtype] * math.prod(spec.shape)

    def data(self, payload: Payload) -> bytes:
        """The raw numbers of one sample; `BadInput` where there are none, or they are of another type or shape."""
        tensor = self._tensor(payload)
        if tensor.shape != self._shape or tensor.dtype != self._dtype_name:
            expected = f"{self._dtype_name} {self._shape}"
            raise BadInput(f"tensor {self._name} is {tensor.dtype} {tensor.shape}; expected {expected}")
        if tensor.encoding == "raw" and len(tensor.data) == self._raw_bytes:
            return tensor.data
        try:
            return raw_data(tensor, self._raw_bytes)
        except PeerError as error:
            raise BadInput(f"tensor {self._name}: {error}") from error

    def _tensor(self, payload: Payload) -> Tensor:
        name = self._name
        for tensor in payload:
            if tensor.name == name:
                return tensor
        raise BadInput(f"no tensor {name}")

    def array(self, samples: Sequence[bytes]) -> Array:
        """One array of all samples, before features. Of one sample it is the very bytes that came."""
        whole = samples[0] if len(samples) == 1 else b"".join(samples)
        array = np.frombuffer(whole, self._dtype).reshape(len(samples), *self.spec.shape)
        return array if self.spec.dtype != "bool" else array.view(np.uint8) != 0

    def prepared(self, array: Array) -> Array:
        return apply_features(array, self.spec.features)

    def zeros(self) -> Array:
        return self.prepared(np.zeros((1, *self.spec.shape), self._dtype))


def stacked(readers: Sequence[InputReader], questions: Sequence[Question]) -> Stacked:
    """All questions of a batch. A bad sample is left out, and harms no other."""
    bad: dict[int, str] = {}
    kept: Sequence[int] = range(len(questions))
    try:
        columns = [[reader.data(question.payload) for question in questions] for reader in readers]
    except BadInput:
        columns, kept = _sorted_out(readers, questions, bad)
    if not kept:
        return Stacked({}, kept, bad)
    arrays = [reader.array(column) for reader, column in zip(readers, columns, strict=True)]
    if not all(map(_finite, arrays)):
        arrays, kept = _without_infinite(arrays, kept, bad)
    prepared = {reader.model_input: reader.prepared(array) for reader, array in zip(readers, arrays, strict=True)}
    return Stacked(prepared, kept, bad)


def _sorted_out(
    readers: Sequence[InputReader], questions: Sequence[Question], bad: dict[int, str]
) -> tuple[list[list[bytes]], list[int]]:
    """One question after the other: which are good, and what is wrong with the rest."""
    columns: list[list[bytes]] = [[] for _ in readers]
    kept = []
    for index, question in enumerate(questions):
        try:
            row = [reader.data(question.payload) for reader in readers]
        except BadInput as error:
            bad[index] = str(error)
            continue
        kept.append(index)
        for column, data in zip(columns, row, strict=True):
            column.append(data)
    return columns, kept


def _finite(array: Array) -> bool:
    """Whether every number is one. A sum of squares tells in one pass: NaN and infinity survive it. Large numbers make
    it infinite too, and then each is looked at."""
    return array.dtype.kind != "f" or math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def _without_infinite(arrays: list[Array], kept: Sequence[int], bad: dict[int, str]) -> tuple[list[Array], list[int]]:
    good = np.ones(len(kept), bool)
    for array in arrays:
        if array.dtype.kind == "f":
            good &= np.isfinite(array).reshape(len(kept), -1).all(axis=1)
    for index, fine in zip(kept, good.tolist(), strict=True):
        if not fine:
            bad[index] = "a number in it is not finite"
    return [array[good] for array in arrays], [index for index, fine in zip(kept, good.tolist(), strict=True) if fine]
