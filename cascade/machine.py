"""What a machine is: events in, effects out. No clock, no socket, no disk, no thread, no chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from cascade.errors import IllegalTransition

Event = TypeVar("Event", contravariant=True)
Effect = TypeVar("Effect")
State = TypeVar("State")
Trigger = TypeVar("Trigger")


class Machine(Protocol[Event, Effect]):
    """A decision maker. One thread calls it; `now` is that thread's monotonic clock, in seconds."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event in; return what has to be done about it, in no particular order."""

    @property
    def wakes_at(self) -> float | None:
        """When the machine wants a `Ticked`: a time, which may have passed, or None for not at all."""


class Transitions(Generic[State, Trigger]):
    """Named states as a table. What is not in the table cannot happen, and raises if it does."""

    def __init__(self, table: Mapping[tuple[State, Trigger], State]) -> None:
        self.table = dict(table)

    def after(self, state: State, trigger: Trigger) -> State:
        try:
            return self.table[state, trigger]
        except KeyError:
            raise IllegalTransition(f"{trigger!s} in state {state!s}") from None

    def drawn(self) -> str:
        """The table as a Mermaid state diagram: the pictures in docs/ are made by this."""
        lines = ["stateDiagram-v2"]
        lines += [f"    {state!s} --> {to!s}: {trigger!s}" for (state, trigger), to in self.table.items()]
        return "\n".join(lines)
