"""Whether arrays fit what a model declares, and the few conversions of type that lose nothing.

A type is converted where every number survives: between types of which one holds all of the other, between float sizes
(float64 to float32 rounds, as every model of that size does anyway), from integers to floats up to where these have
gaps, and from floats to integers only where each of them is a whole number within range. Everything else is `BadInput`:
a model that is fed rounded or wrapped numbers answers with confidence, and wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cascade.adapters.backends.backend import Array, TensorSpec
from cascade.errors import BadInput


def fitted(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays by input name, converted; `BadInput` if one is missing, unknown, or of the wrong shape or type."""
    try:
        fit = {spec.name: fitted_one(spec, arrays[spec.name]) for spec in specs}
    except KeyError as error:
        raise BadInput(f"the model has an input {error}, for which there is nothing") from None
    if len(fit) != len(arrays):
        raise BadInput(f"the model takes inputs {list(fit)}, and was given {list(arrays)}")
    return fit


def fitted_one(spec: TensorSpec, array: Array) -> Array:
    if not _shape_fits(spec.shape, array.shape):
        raise BadInput(f"input {spec.name} wants shape {_drawn(spec.shape)}, and got {_drawn(array.shape)}")
    return array if array.dtype == spec.dtype else converted(spec.name, array, spec.dtype)


def converted(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """`array` as `dtype`, if that loses nothing but the last digits of a float."""
    if _always_survives(array.dtype, dtype) or (array.dtype.kind == "f" and dtype.kind == "f"):
        return array.astype(dtype)
    if array.dtype.kind in "iufb" and dtype.kind in "iufb" and _survives(array, dtype):
        return array.astype(dtype)
    raise BadInput(f"input {name} wants {dtype}, and was given {array.dtype} that does not fit it exactly")


def _always_survives(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """numpy calls 64-bit integers to float64 safe, and it isn't: 2**53 + 1 is no float."""
    return np.can_cast(given, wanted, "safe") and not (
        given.itemsize == 8 and given.kind in "iu" and wanted.kind == "f"
    )


def _survives(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether every number is the same afterwards. Out of range the comparison alone would not say: what becomes of a
    number there differs between processors."""
    if dtype.kind == "f":
        whole = 2 ** (np.finfo(dtype).nmant + 1)
        return array.dtype.kind == "b" or bool(np.all((array >= -whole) & (array <= whole)))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        below = array < float(limits.max + 1) if array.dtype.kind == "f" else array <= limits.max
        if not bool(np.all((array >= limits.min) & below)):
            return False
    with np.errstate(invalid="ignore"):
        return bool(np.array_equal(array.astype(dtype).astype(array.dtype), array))


def batch_of(specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> int:
    """How many samples there are: the first axis, the same for every input that has one."""
    sizes = {arrays[spec.name].shape[0] for spec in specs if spec.shape}
    if len(sizes) > 1:
        raise BadInput(f"inputs of one batch have different first axes: {sorted(sizes)}")
    return sizes.pop() if sizes else 1


def _shape_fits(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    if not wanted or not given or not given[0]:
        return wanted == given
    if wanted[1:] == given[1:] and wanted[0] is None:
        return True
    return len(wanted) == len(given) and all(
        want is None or want == got for want, got in zip(wanted, given, strict=True)
    )


def _drawn(shape: Sequence[int | None]) -> str:
    return "×".join("any" if size is None else str(size) for size in shape) or "a single number"
