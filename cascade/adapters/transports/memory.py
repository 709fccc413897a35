"""A link without a network: any number of askers and one answerer in one process, on one loop.

Everything goes through the bytes of the wire, and is delivered by the loop's next turns, so that what works here is
what travels. It can be cut and restored, for tests; nothing is lost silently but what was on the way when it was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cascade.adapters.transports.intake import read_up, take_answers, take_questions
from cascade.adapters.transports.transport import PACK_QUESTIONS, Post
from cascade.errors import LinkError
from cascade.inference.events import LinkLost, LinkUp, Sent, Unsendable
from cascade.messages import Answer, Question, site_of
from cascade.wire.codec import answer_packs, encode_down, encode_up, packs
from cascade.wire.limits import USUAL, Limits
from cascade.wire.topics import check_device_name


class MemoryExchange:
    """Where the ends meet: `MemoryExchange()`, then one `below` and as many `above(name)` as there are askers."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self.limits = limits
        self.below = MemoryBelow(self)
        self.aboves: dict[str, MemoryAbove] = {}
        self.whole = True

    def above(self, name: str) -> MemoryAbove:
        """The asking end of `<site>.<name>`, which may ask for the devices of its site."""
        end = self.aboves[check_device_name(name)] = MemoryAbove(self, name)
        return end

    def cut(self) -> None:
        """Nothing passes any more, and what is on the way is lost."""
        self.whole = False
        for end in self.aboves.values():
            end.lose("cut")

    def restore(self) -> None:
        self.whole = True
        self.meet()

    def meet(self) -> None:
        """Those who can see the answerer greet it."""
        for end in self.aboves.values():
            end.greet()

    def part(self) -> None:
        for end in self.aboves.values():
            end.lose("closed")

    def up(self, name: str, data: bytes) -> None:
        """Bytes on their way to the answerer: whatever bytes, as from a peer that can't be trusted."""
        self._deliver(lambda: self.below.hear(name, data))

    def down(self, name: str, data: bytes) -> None:
        end = self.aboves.get(name)
        if end is not None:
            self._deliver(lambda: end.hear(data))

    def _deliver(self, arrive: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(lambda: arrive() if self.whole else None)


class MemoryAbove:
    """The asking end. Made by `MemoryExchange.above`."""

    def __init__(self, exchange: MemoryExchange, name: str) -> None:
        self._exchange = exchange
        self._name = name
        self._post: Post | None = None
        self._is_up = False

    async def open(self, post: Post) -> None:
        self._post = post
        self.greet()

    def ask(self, questions: Sequence[Question]) -> None:
        if self._post is None or not self._is_up:
            return
        limits = self._exchange.limits
        unsendable: list[Unsendable] = []
        for data, keys in packs(
            questions,
            limits.max_message_bytes,
            min(PACK_QUESTIONS, limits.max_questions),
            max_question_bytes=limits.max_question_bytes,
            unsendable=unsendable,
        ):
            self._exchange.up(self._name, data)
            self._post(Sent("above", len(data), keys))
        for each in unsendable:
            self._post(each)

    async def close(self) -> None:
        """What was asked is on its way already."""
        self._post = None
        self._is_up = False
        self._exchange.aboves.pop(self._name, None)

    def greet(self) -> None:
        if self._post is not None and not self._is_up and self._exchange.below.listening:
            self._exchange.up(self._name, encode_up(hello=self._name))

    def hear(self, data: bytes) -> None:
        if self._post is None:
            return
        down = take_answers(self._post, data, self._exchange.limits, "above")
        if down is not None and down.welcome and not self._is_up:
            self._is_up = True
            self._post(LinkUp())

    def lose(self, reason: str) -> None:
        if self._is_up and self._post is not None:
            self._is_up = False
            self._post(LinkLost(reason))


class MemoryBelow:
    """The answering end. `back` is the asker's name."""

    def __init__(self, exchange: MemoryExchange) -> None:
        self._exchange = exchange
        self._post: Post | None = None

    @property
    def listening(self) -> bool:
        return self._post is not None

    async def open(self, post: Post) -> None:
        if self.listening:
            raise LinkError("somebody answers here already")
        self._post = post
        self._exchange.meet()

    def reply(self, back: str, answers: Sequence[Answer]) -> None:
        if self._post is None:
            return
        limits = self._exchange.limits
        for data in answer_packs(
            answers, limits.max_message_bytes, limits.max_answers, max_answer_bytes=limits.max_answer_bytes
        ):
            self._exchange.down(back, data)
            self._post(Sent("below", len(data)))

    async def close(self) -> None:
        self._post = None
        self._exchange.part()

    def hear(self, name: str, data: bytes) -> None:
        if self._post is None:
            return
        up = read_up(self._post, data, self._exchange.limits, name)
        if up is None:
            return
        if up.hello:
            self._exchange.down(name, encode_down(welcome="below"))
        site = site_of(name)
        _, refused = take_questions(self._post, up, name, name, lambda device: site_of(device) == site)
        if refused:
            self.reply(name, refused)
