"""Does a parsed document have the shape of a settings struct? Walks both side by side, and notes every mistake.

msgspec could convert the document by itself, but stops at the first mistake. What it knows of the types is used here
(`msgspec.inspect`); a field's constraints are its `Meta`, and `Meta(description=…)` says in words what is expected.
A struct may have `mistakes() -> list[str]` for what concerns several of its fields: asked when each alone is right.
In an array of tables that have a `name`, each name may stand once; text with `Meta(extra={"names": "tasks"})` must be
the name of a table in the top-level array `tasks`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from cascade.adapters.settings_words import expected, found

Kind = TypeVar("Kind")
WRONG = msgspec.UNSET
"""In place of a value that could not be read: its mistake is noted."""

EXISTING_FILE, EXISTING_FOLDER, ANY_PATH = "file", "folder", "any"
"""What `Meta(extra={"path": …})` may ask of a path."""


def child(key: str, name: str) -> str:
    """The full key of a field: what a person would search for in the file."""
    bare = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    return f"{key}.{bare[:64]}" if key else bare[:64]


class Reader:
    """Reads one document; `mistakes` are complete when `read` has returned."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.mistakes: list[str] = []
        self._references: list[tuple[str, str, str]] = []

    def read(self, document: Mapping[str, Any], kind: type[Kind]) -> Kind | msgspec.UnsetType:
        value: Kind | msgspec.UnsetType = self._value(document, inspect.type_info(kind), "", {})
        for key, name, array in self._references:
            self._refer(key, name, array, document.get(array))
        return value

    def _refer(self, key: str, name: str, array: str, tables: object) -> None:
        """Judged on the document, not on the structs: those are not there when anything else is wrong."""
        named = (
            [table.get("name") for table in tables if isinstance(table, Mapping)] if isinstance(tables, list) else []
        )
        known = [one for one in named if isinstance(one, str)]
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known[:20]) or 'none'}"
            self.mistakes.append(f"{key}: found {found(name)}, expected the name of one of [[{array}]]; {hint}")

    def _wrong(self, key: str, value: object, kind: inspect.Type, extra: Mapping[str, Any]) -> Any:
        self.mistakes.append(f"{key or 'the file'}: found {found(value)}, expected {expected(kind, extra)}")
        return WRONG

    def _value(self, value: Any, kind: inspect.Type, key: str, extra: Mapping[str, Any]) -> Any:
        if isinstance(kind, inspect.Metadata):
            return self._value(value, kind.type, key, {**extra, **(kind.extra_json_schema or {}), **(kind.extra or {})})
        return _READERS[type(kind)](self, value, kind, key, extra)

    def _struct(self, value: Any, kind: inspect.StructType, key: str, extra: Mapping[str, Any]) -> Any:
        if not isinstance(value, Mapping):
            return self._wrong(key, value, kind, extra)
        count = len(self.mistakes)
        known = {field.encode_name: field for field in kind.fields}
        self._unknown(value, [*known, *([kind.tag_field] if kind.tag_field else [])], key)
        values: dict[str, Any] = {}
        for name, field in known.items():
            if name in value:
                values[field.name] = self._value(value[name], field.type, child(key, name), {})
            elif field.required:
                self.mistakes.append(f"{child(key, name)}: is missing, expected {expected(field.type)}")
        if len(self.mistakes) > count:
            return WRONG
        return self._checked(kind.cls(**values), key)

    def _checked(self, settings: Any, key: str) -> Any:
        crossed: Callable[[], list[str]] | None = getattr(settings, "mistakes", None)
        more = crossed() if crossed is not None else []
        self.mistakes += [f"{key}.{mistake}" if key else mistake for mistake in more]
        return WRONG if more else settings

    def _unknown(self, value: Mapping[str, Any], known: list[str], key: str) -> None:
        for name in value:
            if name not in known:
                # The value is not shown: it may be a password that was written where none belongs.
                near = get_close_matches(name[:64], known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known)) or 'nothing'}"
                self.mistakes.append(f"{child(key, name)}: is unknown; {hint}")

    def _union(self, value: Any, kind: inspect.UnionType, key: str, extra: Mapping[str, Any]) -> Any:
        choices = [choice for choice in kind.types if not isinstance(choice, inspect.NoneType)]
        if len(choices) == 1:
            return self._value(value, choices[0], key, extra)
        tagged = {choice.tag: choice for choice in choices if isinstance(choice, inspect.StructType)}
        if tagged:
            return self._tagged(value, tagged, key, extra)
        for choice in choices:
            trial = Reader(self._folder)
            result = trial._value(value, choice, key, extra)
            if not trial.mistakes:
                return result
        return self._wrong(key, value, kind, extra)

    def _tagged(self, value: Any, tagged: Mapping[Any, inspect.StructType], key: str, extra: Mapping[str, Any]) -> Any:
        any_of_them = next(iter(tagged.values()))
        if not isinstance(value, Mapping):
            return self._wrong(key, value, any_of_them, extra)
        tag_field = any_of_them.tag_field or "type"
        one_of = inspect.LiteralType(tuple(tagged))
        if tag_field not in value:
            self.mistakes.append(f"{child(key, tag_field)}: is missing, expected {expected(one_of)}")
            return WRONG
        tag = value[tag_field]
        if not isinstance(tag, str) or tag not in tagged:
            return self._wrong(child(key, tag_field), tag, one_of, {})
        return self._struct(value, tagged[tag], key, extra)

    def _array(self, value: Any, kind: inspect.VarTupleType, key: str, extra: Mapping[str, Any]) -> Any:
        if not isinstance(value, list | tuple) or not _within(len(value), kind.min_length, kind.max_length):
            return self._wrong(key, value, kind, extra)
        count = len(self.mistakes)
        items = [self._value(item, kind.item_type, f"{key}[{index}]", {}) for index, item in enumerate(value)]
        self._twice(value, kind.item_type, key)
        return WRONG if len(self.mistakes) > count else tuple(items)

    def _twice(self, value: list[Any] | tuple[Any, ...], item_type: inspect.Type, key: str) -> None:
        if not isinstance(item_type, inspect.StructType) or all(field.name != "name" for field in item_type.fields):
            return
        first: dict[str, int] = {}
        for index, item in enumerate(value):
            name = item.get("name") if isinstance(item, Mapping) else None
            if isinstance(name, str) and first.setdefault(name, index) != index:
                self.mistakes.append(
                    f"{key}[{index}].name: found {found(name)}, which {key}[{first[name]}] has already"
                )

    def _map(self, value: Any, kind: inspect.DictType, key: str, extra: Mapping[str, Any]) -> Any:
        if not isinstance(value, Mapping) or not _within(len(value), kind.min_length, kind.max_length):
            return self._wrong(key, value, kind, extra)
        count = len(self.mistakes)
        items = {name: self._value(item, kind.value_type, child(key, name), {}) for name, item in value.items()}
        return WRONG if len(self.mistakes) > count else items

    def _text(self, value: Any, kind: inspect.StrType, key: str, extra: Mapping[str, Any]) -> Any:
        if (
            not isinstance(value, str)
            or not _within(len(value), kind.min_length, kind.max_length)
            or (kind.pattern is not None and re.search(kind.pattern, value) is None)
        ):
            return self._wrong(key, value, kind, extra)
        if "names" in extra:
            self._references.append((key, value, extra["names"]))
        return value

    def _whole(self, value: Any, kind: inspect.IntType, key: str, extra: Mapping[str, Any]) -> Any:
        if type(value) is not int or not _in_range(value, kind):
            return self._wrong(key, value, kind, extra)
        return value

    def _real(self, value: Any, kind: inspect.FloatType, key: str, extra: Mapping[str, Any]) -> Any:
        # A whole number may be larger than any float; NaN and infinity are never what somebody wanted.
        if type(value) not in (int, float) or not -1e300 < value < 1e300 or not _in_range(value, kind):
            return self._wrong(key, value, kind, extra)
        return float(value)

    def _truth(self, value: Any, kind: inspect.BoolType, key: str, extra: Mapping[str, Any]) -> Any:
        return value if type(value) is bool else self._wrong(key, value, kind, extra)

    def _word(self, value: Any, kind: inspect.LiteralType, key: str, extra: Mapping[str, Any]) -> Any:
        known = any(type(value) is type(word) and value == word for word in kind.values)
        return value if known else self._wrong(key, value, kind, extra)

    def _enum(self, value: Any, kind: inspect.EnumType, key: str, extra: Mapping[str, Any]) -> Any:
        for member in kind.cls:
            if type(value) is str and value == member.value:
                return member
        return self._wrong(key, value, kind, extra)

    def _path(self, value: Any, kind: inspect.CustomType, key: str, extra: Mapping[str, Any]) -> Any:
        if not isinstance(value, str) or not value or "\0" in value:
            return self._wrong(key, value, kind, extra)
        path = self._folder / value
        wanted = extra.get("path", ANY_PATH)
        if (wanted == EXISTING_FILE and not _is(path.is_file)) or (wanted == EXISTING_FOLDER and not _is(path.is_dir)):
            self.mistakes.append(f"{key}: found no {wanted} at {found(str(path))}")
            return WRONG
        return path


def _is(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a name that is too long, a folder that we may not look into
        return False


def _within(length: int, least: int | None, most: int | None) -> bool:
    return (least or 0) <= length and (most is None or length <= most)


def _in_range(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


_READERS: dict[type[inspect.Type], Callable[[Reader, Any, Any, str, Mapping[str, Any]], Any]] = {
    inspect.StructType: Reader._struct,
    inspect.UnionType: Reader._union,
    inspect.VarTupleType: Reader._array,
    inspect.DictType: Reader._map,
    inspect.StrType: Reader._text,
    inspect.IntType: Reader._whole,
    inspect.FloatType: Reader._real,
    inspect.BoolType: Reader._truth,
    inspect.LiteralType: Reader._word,
    inspect.EnumType: Reader._enum,
    inspect.CustomType: Reader._path,
}
"""Other types have no place in settings: a struct that uses one fails at its first test."""
