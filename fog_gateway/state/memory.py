"""The state of a gateway that is the only one of its site: in memory, and gone when it stops."""

from __future__ import annotations

from collections.abc import Callable

from cascade.adapters.answers_kept import AnswersKept


class MemoryState(AnswersKept):
    """The only gateway always holds the desk."""

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go."""

    def watch_desk(self, node: str, held: Callable[[bool], None]) -> None:
        held(True)
