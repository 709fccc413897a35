"""Where joules come from. `meter.py` says what a meter owes; each other room is one way to know."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from cascade.adapters.energy.meter import Meter
from cascade.errors import SettingsError

METERS: dict[str, str] = {
    "estimate": "cascade.adapters.energy.estimate:EstimateMeter",
}
"""A setting names one of these. Loaded on use: each knows one kind of board."""


def meter(name: str) -> Meter:
    try:
        where = METERS[name]
    except KeyError:
        raise SettingsError("meter", [f"{name!r}: expected one of {', '.join(sorted(METERS))}"]) from None
    module, _, made_by = where.partition(":")
    return cast(Meter, getattr(import_module(module), made_by)())
