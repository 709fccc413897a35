"""From the tensors of questions to one array per input of the model: checked sample by sample, stacked at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.errors import BadInput, PeerError
from cascade.inference.features import apply_features, judge_of
from cascade.messages import DTYPES, Payload, Question, Tensor
from cascade.release.bundle import InputSpec
from cascade.wire.content import raw_data

Array = npt.NDArray[Any]
NOT_FINITE = "a number in it is not finite"
NONE_BAD: Mapping[int, str] = {}
OVERFLOWED = "what is made of it is not finite: its numbers are too large"


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
        self.asked = spec.asked
        self.judge = judge_of(spec.features)
        self.plain = self.asked and not spec.features and self.judge is None and not spec.batch_axis
        """The model gets what is in the question, as it is."""

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

    def placed(self, array: Array) -> Array:
        """With the batch where the model has it."""
        return np.moveaxis(array, 0, self.spec.batch_axis) if self.spec.batch_axis else array

    def given(self, samples: int) -> Array:
        """Of an input that is not in the question: its value, or the state that every sequence begins with."""
        spec = self.spec
        if spec.value is None:
            return self.placed(np.zeros((samples, *spec.shape), self._dtype))
        return np.full((samples, *spec.shape) if spec.shape else (), spec.value, self._dtype)

    def part(self, array: Array, at: int, count: int) -> Array:
        """Of a batch as the model gets it."""
        if not self.asked and not self.spec.shape:
            return array
        return array[(slice(None),) * self.spec.batch_axis + (slice(at, at + count),)]

    def chosen(self, array: Array, rows: Sequence[int]) -> Array:
        """Some samples of a batch as the model gets it."""
        if not self.asked and not self.spec.shape:
            return array
        return np.take(array, rows, axis=self.spec.batch_axis)

    def zeros(self) -> Array:
        if not self.asked:
            return self.given(1)
        return self.placed(self.prepared(np.zeros((1, *self.spec.shape), self._dtype)))


def stacked(readers: Sequence[InputReader], questions: Sequence[Question]) -> Stacked:
    """All questions of a batch. A bad sample is left out, and harms no other."""
    if len(readers) == 1 and readers[0].plain and (array := _at_once(readers[0], questions)) is not None:
        return Stacked({readers[0].model_input: array}, range(len(questions)), NONE_BAD)
    bad: dict[int, str] = {}
    kept: Sequence[int] = range(len(questions))
    asked = [reader for reader in readers if reader.asked]
    try:
        columns = [[reader.data(question.payload) for question in questions] for reader in asked]
    except BadInput:
        columns, kept = _sorted_out(asked, questions, bad)
    if not kept:
        return Stacked({}, kept, bad)
    arrays = [reader.array(column) for reader, column in zip(asked, columns, strict=True)]
    arrays, kept = _without(_infinite(arrays, NOT_FINITE), arrays, kept, bad)
    arrays, kept = _without(_flawed(asked, arrays), arrays, kept, bad)
    fed = [reader.prepared(array) for reader, array in zip(asked, arrays, strict=True)]
    if any(reader.spec.features for reader in asked):
        fed, kept = _without(_infinite(fed, OVERFLOWED), fed, kept, bad)
    if not kept:
        return Stacked({}, kept, bad)
    inputs = {reader.model_input: reader.placed(array) for reader, array in zip(asked, fed, strict=True)}
    if len(asked) < len(readers):
        inputs |= {
            reader.model_input: reader.given(len(kept))
            for reader in readers
            if not reader.asked and not reader.spec.segment
        }
    return Stacked(inputs, kept, bad)


def left_out(readers: Sequence[InputReader], batch: Stacked, flaws: Mapping[int, str]) -> Stacked:
    """The batch without these of its samples, counted as they stand in it."""
    if not flaws:
        return batch
    good = [row for row in range(len(batch.kept)) if row not in flaws]
    bad = {**batch.bad, **{batch.kept[row]: why for row, why in flaws.items()}}
    arrays = {
        reader.model_input: reader.chosen(batch.arrays[reader.model_input], good)
        for reader in readers
        if reader.model_input in batch.arrays
    }
    return Stacked(arrays, [batch.kept[row] for row in good], bad)


def _at_once(reader: InputReader, questions: Sequence[Question]) -> Array | None:
    """Most models, and most batches: one input, nothing to prepare, nothing bad."""
    try:
        array = reader.array([reader.data(question.payload) for question in questions])
    except BadInput:
        return None
    return array if _finite(array) else None


def check_carried(readers: Sequence[InputReader], outputs: Mapping[str, Array]) -> None:
    """`BadInput` unless what the model gives to be carried is what it takes the next time."""
    for reader in readers:
        name = reader.spec.carried
        if name and (name not in outputs or outputs[name].shape != reader.given(1).shape):
            found = f"of shape {outputs[name].shape}" if name in outputs else f"among {', '.join(outputs)}"
            raise BadInput(f"output {name} is carried to input {reader.model_input}: found it {found}")


def read_sample(reader: InputReader, tensors: Mapping[str, Array], features: Array | None = None) -> Array:
    """One sample that never was a question, prepared, or with `features` that were: `BadInput` as of a question's."""
    spec = reader.spec
    array = tensors.get(spec.tensor)
    if array is None:
        raise BadInput(f"no tensor {spec.tensor}")
    if array.shape != spec.shape or array.dtype.name != spec.dtype:
        found = f"{array.dtype.name} {array.shape}"
        raise BadInput(f"tensor {spec.tensor} is {found}; expected {spec.dtype} {spec.shape}")
    batch = [array[None]]
    wrong = _infinite(batch, NOT_FINITE) or _flawed([reader], batch)
    fed = reader.prepared(batch[0]) if features is None and not wrong else features
    if not wrong and fed is not None and spec.features:
        wrong = _infinite([fed], OVERFLOWED)
    if wrong or fed is None:
        raise BadInput(wrong[0])
    return fed


def part_of(readers: Sequence[InputReader], arrays: Mapping[str, Array], at: int, count: int) -> dict[str, Array]:
    """So many samples of a batch, as the model gets them."""
    return {reader.model_input: reader.part(arrays[reader.model_input], at, count) for reader in readers}


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


def _infinite(arrays: Sequence[Array], why: str) -> dict[int, str]:
    """Which samples have a number that is none."""
    found: dict[int, str] = {}
    for array in arrays:
        if not _finite(array):
            good = np.isfinite(array).reshape(len(array), -1).all(axis=1)
            found.update(dict.fromkeys(np.flatnonzero(~good).tolist(), why))
    return found


def _flawed(readers: Sequence[InputReader], arrays: Sequence[Array]) -> dict[int, str]:
    """What a stage refuses of what a sensor gave."""
    found: dict[int, str] = {}
    for reader, array in zip(readers, arrays, strict=True):
        if reader.judge is not None and len(array):
            found.update(reader.judge(array))
    return found


def _without(
    flaws: Mapping[int, str], arrays: list[Array], kept: Sequence[int], bad: dict[int, str]
) -> tuple[list[Array], Sequence[int]]:
    """What is left when these are taken out; why they are, stands in `bad` afterwards."""
    if not flaws:
        return arrays, kept
    bad.update({kept[row]: why for row, why in flaws.items()})
    good = np.array([row not in flaws for row in range(len(kept))])
    return [array[good] for array in arrays], [index for row, index in enumerate(kept) if row not in flaws]
