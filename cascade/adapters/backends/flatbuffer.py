"""Reading a flatbuffer without trusting it: every offset is checked against the bytes, every step against a budget.

Tables of a flatbuffer may point at each other at will, so a small file can describe endless work: the budget ends it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_STEPS = 3_000_000
MAX_NAME = 256
"""Of an operator: TensorFlow's longest has 60."""


class Malformed(Exception):
    """The bytes are not a flatbuffer, or not a whole one."""


class Table(NamedTuple):
    """A table, by where its fields are described."""

    at: int
    fields: tuple[int, ...]


class Flatbuffer:
    """One file."""

    def __init__(self, data: memoryview, identifier: bytes, max_steps: int = MAX_STEPS) -> None:
        self.data = data
        self._left = max_steps
        if len(data) < 8 or bytes(data[4:8]) != identifier:
            raise Malformed(f"it does not begin as a {identifier.decode()} file")

    def root(self) -> Table:
        return self._table(self.number("<I", 0))

    def number(self, form: str, at: int) -> int:
        self._left -= 1
        if self._left < 0:
            raise Malformed("more parts than any model has")
        if at < 0 or at + struct.calcsize(form) > len(self.data):
            raise Malformed(f"an offset to {at}, past the {len(self.data)} bytes of the file")
        value: int = struct.unpack_from(form, self.data, at)[0]
        return value

    def _table(self, at: int) -> Table:
        description = at - self.number("<i", at)
        size = self.number("<H", description)
        if size < 4 or size % 2 or description + size > len(self.data):
            raise Malformed(f"a table at {at} without a description")
        count = (size - 4) // 2
        self._left -= count
        return Table(at, struct.unpack_from(f"<{count}H", self.data, description + 4))

    def field(self, table: Table, index: int) -> int | None:
        """Where a field's value lies, or None where it has its default."""
        offset = table.fields[index] if index < len(table.fields) else 0
        return table.at + offset if offset else None

    def scalar(self, table: Table, index: int, form: str, default: int = 0) -> int:
        at = self.field(table, index)
        return default if at is None else self.number(form, at)

    def vector(self, table: Table, index: int, element_bytes: int) -> tuple[int, int]:
        """Where a vector's first element lies, and how many there are; checked to lie in the file."""
        at = self.field(table, index)
        if at is None:
            return 0, 0
        start = at + self.number("<I", at)
        count = self.number("<I", start)
        if count * element_bytes > len(self.data) - start - 4:
            raise Malformed(f"a vector of {count} elements, more than the file holds: it is cut off")
        return start + 4, count

    def numbers(self, table: Table, index: int, form: str = "i") -> tuple[int, ...]:
        start, count = self.vector(table, index, struct.calcsize(form))
        self._left -= count
        if self._left < 0:
            raise Malformed("more parts than any model has")
        return struct.unpack_from(f"<{count}{form}", self.data, start)

    def tables(self, table: Table, index: int) -> list[Table]:
        start, count = self.vector(table, index, 4)
        return [self._table(at + self.number("<I", at)) for at in range(start, start + 4 * count, 4)]

    def text(self, table: Table, index: int) -> str:
        start, count = self.vector(table, index, 1)
        self._left -= count
        if count > MAX_NAME or self._left < 0:
            raise Malformed(f"a name of {count} bytes, or more names than any model has")
        return bytes(self.data[start : start + count]).decode(errors="replace")
