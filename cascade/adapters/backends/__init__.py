"""Engines that run models. `backend.py` says what an engine owes; each other room is one engine, or a part of one."""

from __future__ import annotations

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


def usable_engines() -> frozenset[str]:
    """The engines that can run on this machine."""
    return frozenset(name for name in ENGINES if engine(name).missing() is None)
