"""What a store owes to a gateway: the answers that were given, and who holds the desk of the site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cascade.adapters.answering_loop import AnswerMemory


class State(AnswerMemory, Protocol):
    """Shared by the gateways of one site, or one gateway's own. Callbacks come on the loop's thread."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def watch_desk(self, node: str, held: Callable[[bool], None]) -> None:
        """Compete for the site's desk: who holds it reads presence and devices' metrics. Told at every change."""
