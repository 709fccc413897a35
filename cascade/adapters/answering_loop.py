"""The ask flow of a hop that has others below it: the same in a gateway and in the cloud.

Questions come from the link below, the same question gets the same answer for as long as a memory keeps it, and what
can't be answered goes up where there is an above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from cascade.adapters.hop_shell import HopShell, ModelThread, Observer, StageEngine
from cascade.adapters.transports.transport import Above, Below
from cascade.inference.effects import Remember, Reply
from cascade.inference.events import Asked, Event, LadderInstalled, Remembered
from cascade.inference.hop import Hop
from cascade.messages import Answer, Key
from cascade.release.ladder import Ladder


class AnswerMemory(Protocol):
    """The final answers that were given. Told by a callback, now or later: a memory may be across a network.

    One that fails says "nothing known" and "done" all the same: a hop answers without its memory too.
    """

    at_once: bool
    """It knows what it was told as soon as it was told. Then the hop need not wait for it (`HopSettings.remembers`)."""

    def recall(self, key: Key, known: Callable[[Answer | None], None]) -> None: ...

    def remember(self, key: Key, answer: Answer, done: Callable[[], None]) -> None: ...


class AnsweringLoop:
    """Owns the hop."""

    def __init__(
        self,
        hop: Hop,
        engine: StageEngine,
        below: Below,
        memory: AnswerMemory,
        *,
        above: Above | None = None,
        observers: tuple[Observer, ...] = (),
        model_thread: ModelThread = "auto",
    ) -> None:
        self._below = below
        self._memory = memory
        self._replies: dict[str, list[Answer]] = {}
        self.shell = HopShell(
            hop,
            engine,
            reply=self._reply,
            flush_replies=self._send_replies,
            above=above,
            remember=self._remember,
            observers=observers,
            model_thread=model_thread,
        )

    async def open(self, ladders: Sequence[Ladder]) -> None:
        """Models first, then the way up, then those below: nobody is let in before there is somebody to serve."""
        for ladder in ladders:
            self.shell.post(LadderInstalled(ladder))
        await self.shell.start()
        await self._below.open(self._take)

    async def close(self) -> None:
        """What was asked and is not answered yet is asked again by those below."""
        await self.shell.stop()
        await self._below.close()

    def _take(self, event: Event) -> None:
        if type(event) is not Asked:
            self.shell.post(event)
            return
        asked = event

        def known(earlier: Answer | None) -> None:
            self.shell.post(asked if earlier is None else msgspec.structs.replace(asked, earlier=earlier))

        self._memory.recall(asked.question.key, known)

    def _remember(self, effect: Remember) -> None:
        self._memory.remember(effect.key, effect.answer, lambda: self.shell.post(Remembered(effect.key)))

    def _reply(self, effect: Reply) -> None:
        answer = effect.answer
        if self._memory.at_once and answer.settles:
            self._memory.remember(answer.key, answer, _nothing)
        self._replies.setdefault(effect.back, []).append(answer)

    def _send_replies(self) -> None:
        replies, self._replies = self._replies, {}
        for back, answers in replies.items():
            self._below.reply(back, answers)


def _nothing() -> None:
    """Nobody waits for it."""
