"""What gateways of one site share. `state.py` says what a store owes; each other room is one kind of store."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from cascade.errors import SettingsError
from fog_gateway.state.state import State

STATES: dict[str, str] = {"memory": "fog_gateway.state.memory:MemoryState"}


def new_state(kind: str, answers_kept_s: float) -> State:
    try:
        module, _, name = STATES[kind].partition(":")
    except KeyError:
        raise SettingsError("state", [f"kind: found {kind!r}, expected one of {', '.join(STATES)}"]) from None
    return cast(State, getattr(import_module(module), name)(answers_kept_s))
