"""Walking protobuf bytes without a schema and without trusting them: fields as (number, value), bounded.

Nothing is copied but what the caller slices; a file of any size is read where it lies (an mmap). Every length is
checked against what is there, and one budget counts all the fields of a file, so no file costs more than its size says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

MAX_FIELDS = 1_000_000
"""Some 30 for each node of a graph: a large transformer has 10,000 nodes. A million take a second to walk."""

Value: TypeAlias = "int | memoryview"
"""A varint, or the bytes of a length-delimited or fixed field."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(Exception):
    """The bytes are not protobuf, or not to the end."""


class Walk:
    """The walk over one file."""

    def __init__(self, max_fields: int = MAX_FIELDS) -> None:
        self._left = max_fields

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """The fields of one message, in the order of the file. Groups are refused: no format that we read has any."""
        position, end = 0, len(message)
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise Malformed("more fields than any model has")
            tag, position = _varint(message, position)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise Malformed("a field with number 0")
            if kind == _VARINT:
                value, position = _varint(message, position)
                yield number, value
                continue
            size, position = _size(message, position, kind)
            if size > end - position:
                raise Malformed(f"a field of {size} bytes, where {end - position} are left: the file is cut off")
            yield number, message[position : position + size]
            position += size


def _size(message: memoryview, position: int, kind: int) -> tuple[int, int]:
    if kind == _BYTES:
        return _varint(message, position)
    if kind == _FIXED64:
        return 8, position
    if kind == _FIXED32:
        return 4, position
    raise Malformed(f"wire type {kind}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise Malformed("ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise Malformed("a number of more than ten bytes")


def text_of(value: Value) -> str:
    if isinstance(value, int):
        raise Malformed("a number where a text belongs")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text that is not UTF-8") from error


def numbers_of(value: Value, most: int) -> list[int]:
    """A repeated integer: one, or packed; `most` of them."""
    if isinstance(value, int):
        return [value]
    if len(value) > 10 * most:
        raise Malformed(f"a list of more than {most} numbers")
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(number)
    return numbers
