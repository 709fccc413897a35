"""How a mistake in the settings is told: what was found, and what was expected, in words and not in types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from msgspec import inspect

MOST_SHOWN = 60
"""Characters of a value that are shown."""


def found(value: object) -> str:
    """A value as it may be shown: short, and without what is inside tables and arrays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _short(json.dumps(value[: MOST_SHOWN + 1], ensure_ascii=False))
    if isinstance(value, int) and abs(value) >= 10**MOST_SHOWN:
        return "a giant whole number"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    if isinstance(value, datetime | date | time):
        return f"the date or time {value.isoformat()}"
    return type(value).__name__


def expected(kind: inspect.Type, extra: Mapping[str, Any] | None = None) -> str:
    """What would have been right, in words."""
    extra = extra or {}
    if isinstance(kind, inspect.Metadata):
        return expected(kind.type, {**extra, **(kind.extra_json_schema or {}), **(kind.extra or {})})
    if "description" in extra:
        return str(extra["description"])
    return _in_words(kind, extra)


def _in_words(kind: inspect.Type, extra: Mapping[str, Any]) -> str:
    match kind:
        case inspect.UnionType():
            return " or ".join(expected(one, extra) for one in kind.types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType():
            return _one_of(kind.values)
        case inspect.EnumType():
            return _one_of(tuple(member.value for member in kind.cls))
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.StrType():
            return "text" + _length(kind.min_length, kind.max_length, "characters")
        case inspect.VarTupleType():
            return "an array" + _length(kind.min_length, kind.max_length, "entries")
        case inspect.CustomType():
            return "the path of a " + ("file or folder" if extra.get("path", "any") == "any" else str(extra["path"]))
        case _:
            return "true or false" if isinstance(kind, inspect.BoolType) else "a table"


def _one_of(words: tuple[Any, ...]) -> str:
    shown = [json.dumps(word) for word in words]
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    bounds = [("at least", kind.ge), ("above", kind.gt), ("at most", kind.le), ("below", kind.lt)]
    said = [f"{words} {bound}" for words, bound in bounds if bound is not None]
    return f", {', '.join(said)}" if said else ""


def _length(least: int | None, most: int | None, what: str) -> str:
    if least and most:
        return f" of {least} to {most} {what}"
    if least:
        return f" of at least {least} {what}"
    return f" of at most {most} {what}" if most is not None else ""


def _short(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
