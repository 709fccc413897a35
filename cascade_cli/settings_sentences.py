"""The sentence that stands below each key in the settings' own source: read from there, so that no page can drift."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from types import ModuleType
from typing import Any


def sentences_of(table: type[Any]) -> dict[str, str]:
    """By key, for a table and what it inherits. Empty where the source is not there (as in a package without .py)."""
    found: dict[str, str] = {}
    for kind in reversed(table.__mro__):
        module = inspect.getmodule(kind)
        if module is not None and kind is not object:
            found |= _of_module(module).get(kind.__name__, {})
    return found


def about(table: type[Any]) -> str:
    """What the table is for: its own docstring, not that of what it derives from."""
    return inspect.cleandoc(table.__dict__.get("__doc__") or "")


@cache
def _of_module(module: ModuleType) -> dict[str, dict[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return {}
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for line, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(after, ast.Expr):
            said = after.value
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                found[line.target.id] = " ".join(said.value.split())
    return found
