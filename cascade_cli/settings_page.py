"""A settings file written out: every key that there is, with its sentence, unit, bounds and default.

What is set stands as it is; what stands at its default stands behind `#`, without a space: take the `#` away to change
it. Comments have a space. Everything but the values is read from the settings' own structs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Any

import msgspec
from msgspec import inspect

from cascade.adapters.settings_words import expected
from cascade_cli.settings_sentences import about, sentences_of

WIDTH = 116
HUGE = 1e7
UNITS = {
    "_per_s": "per second", "_ms": "milliseconds", "_s": "seconds", "_bytes": "bytes", "_hz": "per second",
    "bytes_per_minute": "bytes", "bytes_burst": "bytes", "joules_per_minute": "joules", "joules_burst": "joules",
    "joules_per_byte": "joules",
}  # fmt: skip
EXAMPLES: Mapping[str, Any] = {
    "port": 8883, "ca_file": "certs/ca.pem", "cert_file": "certs/this.pem", "key_file": "certs/this.key",
    "password_file": "password", "seed_file": "audit.seed", "path": "samples.npz", "argv": ["my-camera", "--raw"],
    "wake_task": "something-there", "wakes": "another-stream", "host": "broker.example", "name": "name",
    "worth_asking": 0.05, "provisional_at": 0.4,
}  # fmt: skip
"""For keys that have no default."""


def page(kind: type[Any], document: Mapping[str, Any], head: str) -> str:
    """The whole file. `document` is what is set, in the shape of the parsed file."""
    lines = [*_wrapped(head), ""]
    sentences = sentences_of(kind)
    for field in _struct(inspect.type_info(kind)).fields:
        name = field.encode_name
        lines += _table(field, document.get(name), name, sentences.get(field.name, ""), quiet=False)
    return "\n".join(lines).rstrip() + "\n"


def keys_of(kind: type[Any]) -> set[str]:
    """Every key that may stand in such a file, as `table.key`."""
    return set(_keys(inspect.type_info(kind), ""))


def _keys(kind: inspect.Type, path: str) -> Iterator[str]:
    for table in _tables_in(kind):
        for field in table.fields:
            key = f"{path}.{field.encode_name}" if path else field.encode_name
            yield key
            yield from _keys(field.type, key)


def _table(field: inspect.Field, value: Any, path: str, sentence: str, *, quiet: bool) -> Iterator[str]:
    """One field that is a table, tables of several kinds, or an array of them. Quiet: all behind `#`."""
    array = isinstance(_bare(field.type), inspect.VarTupleType)
    values = value if isinstance(value, list) else [value]
    for kind in _chosen(_tables_in(field.type), value):
        for each in values:
            silent = quiet or (each is None and (array or field.default is None))
            yield from _wrapped(" ".join(part for part in (about(kind.cls), sentence) if part))
            yield f"{'#' * silent}[[{path}]]" if array else f"{'#' * silent}[{path}]"
            yield from _body(kind, each or {}, path, quiet=silent)


def _chosen(kinds: list[inspect.StructType], value: Any) -> list[inspect.StructType]:
    """Of several kinds of table the one that is set; all, where none is."""
    named = [kind for kind in kinds if isinstance(value, Mapping) and value.get(kind.tag_field or "") == kind.tag]
    return named if len(kinds) > 1 and named else kinds


def _body(kind: inspect.StructType, value: Mapping[str, Any], path: str, *, quiet: bool) -> Iterator[str]:
    sentences = sentences_of(kind.cls)
    if kind.tag_field:
        yield f"{'#' * quiet}{kind.tag_field} = {_toml(kind.tag)}"
    for field in kind.fields:
        if not _tables_in(field.type):
            yield from _key(field, value.get(field.encode_name), sentences.get(field.name, ""), quiet=quiet)
    yield ""
    for field in kind.fields:
        if _tables_in(field.type):
            name, sentence = field.encode_name, sentences.get(field.name, "")
            yield from _table(field, value.get(name), f"{path}.{name}", sentence, quiet=quiet)


def _key(field: inspect.Field, value: Any, sentence: str, *, quiet: bool) -> Iterator[str]:
    name = field.encode_name
    yield from _wrapped(" ".join(part for part in (sentence, _bounds(field, value is not None)) if part))
    shown = value if value is not None else _default(field)
    shown = EXAMPLES.get(name, _example(field.type)) if shown is None else shown
    yield f"{'#' * (quiet or value is None)}{name} = {_toml(shown)}"


def _bounds(field: inspect.Field, is_set: bool) -> str:
    """In parentheses behind the sentence: unit, what may be written, and the default where it is not what stands."""
    default = _default(field)
    unit = next((unit for end, unit in UNITS.items() if field.encode_name.endswith(end)), "")
    words = [unit, _allowed(field.type), f"default {_toml(default)}" if is_set and default is not None else ""]
    said = "; ".join(word for word in words if word)
    return f"({said})" if said else ""


def _allowed(kind: inspect.Type) -> str:
    """What may be written, where that isn't plain from the value that stands there."""
    kind = _bare(kind)
    if isinstance(kind, inspect.UnionType):
        return next(_allowed(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _range(kind)
    return expected(kind) if isinstance(kind, inspect.LiteralType | inspect.EnumType) else ""


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    """A bound that nobody reaches is left out."""
    bounds = [("at least", kind.ge), ("above", kind.gt), ("at most", kind.le), ("below", kind.lt)]
    if kind.ge is not None and kind.le is not None and kind.le < HUGE:
        return f"{kind.ge:,} to {kind.le:,}"
    return ", ".join(f"{words} {bound:,}" for words, bound in bounds if bound is not None and bound < HUGE)


def _default(field: inspect.Field) -> Any:
    """None where there is none."""
    return None if field.default is msgspec.NODEFAULT else field.default


def _example(kind: inspect.Type) -> Any:
    """Something that may stand there."""
    kind = _bare(kind)
    if isinstance(kind, inspect.UnionType):
        return next(_example(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return kind.ge if kind.ge is not None else (kind.gt or 0) + 1
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    return False if isinstance(kind, inspect.BoolType) else "…"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return json.dumps(value.value)
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _bare(kind: inspect.Type) -> inspect.Type:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _struct(kind: inspect.Type) -> inspect.StructType:
    (table,) = _tables_in(kind)
    return table


def _tables_in(kind: inspect.Type) -> list[inspect.StructType]:
    """The tables that may stand for this type: one, several, or none where it is a plain value."""
    kind = _bare(kind)
    if isinstance(kind, inspect.StructType):
        return [kind]
    if isinstance(kind, inspect.UnionType):
        return [table for choice in kind.types for table in _tables_in(choice)]
    return _tables_in(kind.item_type) if isinstance(kind, inspect.VarTupleType) else []


def _wrapped(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text, WIDTH)]
