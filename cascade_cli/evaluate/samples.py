"""The data set: samples with what is right, from where the settings say, and every way in which it can be no use."""

from __future__ import annotations

import gzip
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.adapters.samples import payload_of
from cascade.errors import BadInput, SettingsError
from cascade.messages import Payload, payload_digest
from cascade.release.bundle import StageSpec
from cascade_cli.demo.digits import splits
from cascade_cli.evaluate.settings import DataTable, DigitsTable, IdxTable
from edge_agent.sensors.recordings import open_recording
from edge_agent.sensors.sensor_settings import ReplayTable

Array = npt.NDArray[Any]
Read = Callable[[int], Mapping[str, Array]]

MOST_HELD_BYTES = 512 * 1024 * 1024
"""Of samples that are kept in memory between the runs. The others are read again."""
MAX_IDX_BYTES = 4 << 30
SHOWN = 5
"""Of samples that are wrong: so many are named."""


@dataclass(eq=False)
class DataSet:
    """So many samples. Reading one may take a disk's time; what was read stays, up to a bound."""

    source: str
    labels: tuple[str, ...]
    """Of each sample."""
    read: Read
    digests: tuple[bytes, ...] = ()
    """Of each sample's payload."""
    tensors: tuple[str, ...] = ()
    """What a single array is called, where the source doesn't say."""
    _held: dict[int, Payload] = field(default_factory=dict)
    _held_bytes: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def payload(self, index: int) -> Payload:
        held = self._held.get(index)
        if held is not None:
            return held
        payload = payload_of(self.read(index), ())
        size = sum(len(tensor.data) for tensor in payload)
        if self._held_bytes + size <= MOST_HELD_BYTES:
            self._held[index] = payload
            self._held_bytes += size
        return payload

    def digest(self, begin: int, end: int) -> str:
        """What stands for the inputs of some samples; labels are not in it, as no model sees them."""
        return blake2b(b"".join(self.digests[begin:end]), digest_size=16).hexdigest()


def open_data(table: DataTable, progress: Callable[[int, int], None] = lambda done, of: None) -> DataSet:
    """Read all samples once. `SettingsError` for data that nothing can be learned from, with all that is wrong."""
    labels, read, source = _SOURCES[type(table)](table)
    limit = getattr(table, "limit", 0)
    data = DataSet(source, tuple(labels[:limit] if limit else labels), read)
    mistakes = _label_mistakes(data.labels)
    if mistakes:
        raise SettingsError(source, mistakes)
    data.digests = tuple(_digests(data, progress))
    return data


def _digests(data: DataSet, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    wrong: list[str] = []
    for index in range(len(data)):
        fault = _fault(data, index)
        if fault:
            wrong.append(f"sample {index}{f' (a {label})' if (label := data.labels[index]) else ''}: {fault}")
        else:
            yield payload_digest(data.payload(index))
        progress(index + 1, len(data))
    if wrong:
        raise SettingsError(
            data.source, wrong[:SHOWN] + ([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else [])
        )


def _fault(data: DataSet, index: int) -> str:
    """A hop refuses such a question: whoever asks has to mend it, and no share of right answers would mean anything."""
    try:
        arrays = data.read(index)
        data.payload(index)
    except BadInput as error:
        return str(error)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            nans = int(np.isnan(array).sum())
            what = f"{nans} of {array.size} numbers are NaN" if nans else "a number in it is infinite"
            return f"tensor {name}: {what}"
    return ""


def _label_mistakes(labels: Sequence[str]) -> list[str]:
    if not labels:
        return ["found no samples, expected some with labels"]
    missing = [index for index, label in enumerate(labels) if not label]
    if len(missing) == len(labels):
        return ["found no labels, expected what is right of each sample: without them nobody can say who is right"]
    if missing:
        shown = ", ".join(map(str, missing[:SHOWN])) + (", …" if len(missing) > SHOWN else "")
        return [f"found {len(missing)} of {len(labels)} samples without a label ({shown}), expected one of each"]
    if len(set(labels)) == 1:
        return [f'found samples of one class only ("{labels[0]}"), expected two or more: whoever says that is right']
    return []


def misfits(data: DataSet, stage: StageSpec) -> list[str]:
    """Samples of another type or shape than the stage reads: it would refuse them."""
    wrong: list[str] = []
    for index in range(len(data)):
        there = {tensor.name: tensor for tensor in data.payload(index)}
        for spec in stage.inputs:
            if not spec.asked:
                continue
            tensor = there.get(spec.tensor)
            if tensor is None:
                wrong.append(f"sample {index}: found the tensors {', '.join(there)}, expected {spec.tensor}")
            elif (tensor.dtype, tensor.shape) != (spec.dtype, spec.shape):
                found = f"{tensor.dtype} {tensor.shape}"
                wrong.append(f"sample {index}: tensor {spec.tensor} is {found}, expected {spec.dtype} {spec.shape}")
    return wrong[:SHOWN] + ([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else [])


def unsayable(labels: Sequence[str], sayable: Sequence[str]) -> list[str]:
    """Labels that no stage can say: most likely they are spelled otherwise than in the release."""
    counts = Counter(labels)
    unknown = sorted(set(labels) - set(sayable))
    if not unknown or not sayable:
        return []
    shown = ", ".join(f'"{label}" ({counts[label]})' for label in unknown[:SHOWN])
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    known = ", ".join(sorted(sayable)[:20])
    return [f"found labels that no stage of the release can say: {shown}{more}; it says {known}"]


def _replayed(table: ReplayTable) -> tuple[Sequence[str], Read, str]:
    if not table.path.exists():
        raise SettingsError(str(table.path), ["found nothing, expected an .npz file, or a folder of images"])
    recording = open_recording(table)
    labels = [recording.read(index).label for index in range(recording.samples)]
    return labels, lambda index: recording.read(index).tensors, str(table.path)


def _digits(table: DigitsTable) -> tuple[Sequence[str], Read, str]:
    part = splits()[("train", "choose", "test").index(table.split)]
    return [str(label) for label in part.labels], lambda index: {"image": part.images[index]}, f"digits, {table.split}"


def _idx(table: IdxTable) -> tuple[Sequence[str], Read, str]:
    images, labels = _idx_array(table.images), _idx_array(table.labels)
    if len(images) != len(labels) or labels.ndim != 1:
        found = f"{len(images)} samples and labels of shape {labels.shape}"
        raise SettingsError(str(table.images), [f"found {found}, expected a label for each sample"])
    if table.shuffled:
        order = np.random.default_rng(0).permutation(len(labels))
        images, labels = images[order], labels[order]
    words = [str(label) for label in labels.tolist()]
    if table.names:
        beyond = sorted({word for word in words if int(word) >= len(table.names)})
        if beyond:
            raise SettingsError(str(table.labels), [f"found labels {', '.join(beyond)}, expected a name for each"])
        words = [table.names[int(word)] for word in words]
    return words, lambda index: {table.tensor: images[index]}, str(table.images)


_IDX_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _idx_array(path: Path) -> Array:
    """Four bytes that say what it is, an axis each of four more, then the numbers."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_IDX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SettingsError(str(path), [f"can't be read: {error}"]) from error
    dtype = _IDX_DTYPES.get(raw[2]) if raw[:2] == b"\0\0" and len(raw) > 3 else None
    if dtype is None:
        raise SettingsError(str(path), ["found no idx file, expected one as MNIST has them"])
    axes = raw[3]
    shape = tuple(int(size) for size in np.frombuffer(raw[4 : 4 + 4 * axes], ">u4"))
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    if len(shape) != axes or len(raw) - 4 - 4 * axes != wanted:
        raise SettingsError(str(path), [f"found {len(raw)} bytes, expected {wanted} of an array of shape {shape}"])
    array = np.frombuffer(raw, dtype, offset=4 + 4 * axes).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


_SOURCES: dict[type, Callable[[Any], tuple[Sequence[str], Read, str]]] = {
    ReplayTable: _replayed,
    DigitsTable: _digits,
    IdxTable: _idx,
}
