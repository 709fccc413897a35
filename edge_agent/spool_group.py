"""Orders to the spool, folded into what one transaction has to do.

What is kept and forgotten within one group never touches the disk: on a stream that is answered faster than the
commit window, an SD card sees nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple, TypeAlias

from cascade.inference.effects import Keep, Park, Remember
from cascade.messages import Answer, Key
from edge_agent.spool_rows import Restored, tag_of


class Forget(NamedTuple):
    """The question ended, and its answer was handed over."""

    key: Key


class Load(NamedTuple):
    """There is room for so many questions from disk."""

    most: int
    most_bytes: int
    take: Callable[[list[Restored]], None]


Order: TypeAlias = Keep | Remember | Forget | Park | Load


class Group:
    """What to write, and whom to tell. `known` is what is in the file already."""

    def __init__(self, orders: list[Order], known: Container[int]) -> None:
        self._known = known
        self.new: dict[int, Keep] = {}
        self.answers: dict[int, Answer] = {}
        self.gone: set[int] = set()
        self.released: set[int] = set()
        """No longer in the hop's memory."""
        self.keeps: list[tuple[int, Key]] = []
        self.remembers: list[Key] = []
        self.loads: list[Load] = []
        for order in orders:
            self._add(order)

    @property
    def writes(self) -> bool:
        return bool(self.new or self.answers or self.gone)

    @property
    def promises(self) -> bool:
        """Whether somebody builds on it: then the disk is waited for. A forgotten row that comes back does no harm."""
        return bool(self.new or self.answers)

    def _add(self, order: Order) -> None:
        if isinstance(order, Load):
            self.loads.append(order)
            return
        if isinstance(order, Keep):
            self._keep(order)
            return
        tag = tag_of(order.key)
        if isinstance(order, Remember):
            self.remembers.append(order.key)
            if tag in self.new or (tag in self._known and tag not in self.gone):
                self.answers[tag] = order.answer
            return
        self.released.add(tag)
        if isinstance(order, Forget):
            self._forget(tag)

    def _keep(self, order: Keep) -> None:
        key = order.question.key
        tag = tag_of(key)
        self.keeps.append((tag, key))
        self.released.discard(tag)
        if tag not in self._known or tag in self.gone:
            self.new[tag] = order

    def _forget(self, tag: int) -> None:
        self.new.pop(tag, None)
        self.answers.pop(tag, None)
        if tag in self._known:
            self.gone.add(tag)
