"""Engines that run models. `backend.py` says what an engine owes; each other room is one engine, or a part of one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from cascade.adapters.backends.backend import Engine
from cascade.errors import BundleRejected

ENGINES: dict[str, str] = {
    "onnx": "cascade.adapters.backends.onnx:OnnxEngine",
    "tflite": "cascade.adapters.backends.tflite:TfliteEngine",
    "scripted": "cascade.adapters.backends.scripted:ScriptedEngine",
}
"""A stage's `format` is a key of this table. Loaded on use: a device carries one runtime, not all."""


def engine(name: str) -> Engine:
    try:
        where = ENGINES[name]
    except KeyError:
        raise BundleRejected(f"no engine is called {name!r}; there are: {', '.join(sorted(ENGINES))}") from None
    module, _, made_by = where.partition(":")
    return cast(Engine, getattr(import_module(module), made_by)())


def usable_engines(names: Iterable[str] = ENGINES) -> frozenset[str]:
    """Those of the engines that can run on this machine. To know it of LiteRT takes loading it, 11 MiB: so ask only for
    those that matter."""
    return frozenset(name for name in names if name in ENGINES and engine(name).missing() is None)
