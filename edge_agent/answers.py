"""Where answers go: back to the part of a program that asked, to who listens, to standard output, or to the broker."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from typing import BinaryIO, Protocol

from cascade.messages import Answer
from edge_agent.ask_socket import AskSocket
from edge_agent.kept_answers import KeptAnswers
from edge_agent.printing import Printer
from edge_agent.settings import StreamTable

log = logging.getLogger(__name__)
Listener = Callable[[Answer], None]

MOST_UNPUBLISHED = 1024
"""Final answers that the broker could not take. Of a durable stream the spool has the others as well."""

ASKED_HERE, FROM_SENSOR, BY_SOCKET = "here:", "sensor:", "ask:"
"""How an address begins: a program that uses the agent as a library, a sensor of the settings, the ask socket."""


class Publisher(Protocol):
    """Who publishes answers for applications: the MQTT link."""

    def publish_answers(self, answers: Sequence[Answer]) -> bool: ...


class Awaited:
    """The answer that one caller waits for: the first that comes, or the final one. On the loop there is a future only
    if it has to wait; a caller in another thread brings one."""

    __slots__ = ("_answer", "_final", "_future")

    def __init__(self, final: bool, future: ThreadFuture[Answer] | None = None) -> None:
        self._final = final
        self._answer: Answer | None = None
        self._future: asyncio.Future[Answer] | ThreadFuture[Answer] | None = future

    def take(self, answer: Answer) -> None:
        if self._final and answer.provisional:
            return
        if self._future is None:
            self._answer = self._answer or answer
        elif not self._future.done():
            self._future.set_result(answer)

    def give_up(self, why: Exception) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_exception(why)

    @property
    def there(self) -> Answer | None:
        return self._answer

    async def wait(self) -> Answer:
        if self._answer is not None:
            return self._answer
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._future = future
        return await future


class Answers:
    """Hands each answer over once. A program that raises, or a pipe that nobody reads, harms no other."""

    def __init__(
        self,
        streams: Sequence[StreamTable],
        publisher: Publisher | None,
        printed_on: BinaryIO | None = None,
        kept: KeptAnswers | None = None,
    ) -> None:
        """Each answer is noted in `kept`, for those who ask why."""
        self.kept = kept if kept is not None else KeptAnswers(0)
        self._keep = self.kept.keep
        self._where = {stream.name: stream.answers for stream in streams}
        self._publisher = publisher
        self.printer = Printer(printed_on, lambda answer: self.printed(answer))
        self.printed: Callable[[Answer], None] = lambda answer: None
        """Told of each line that was printed, on the printer's thread."""
        self._listeners: list[Listener] = []
        self._unpublished: deque[Answer] = deque(maxlen=MOST_UNPUBLISHED)
        self._awaited: dict[str, Awaited] = {}
        self.socket: AskSocket | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Every answer to what this program asked, with corrections, and in an earlier life. Returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def expect(self, question_id: str, *, final: bool, future: ThreadFuture[Answer] | None = None) -> Awaited:
        """Before the question is asked: its answer may come at once."""
        awaited = self._awaited[question_id] = Awaited(final, future)
        return awaited

    def forget(self, question_id: str) -> None:
        """Whoever asked has the answer, or no longer waits for it."""
        del self._awaited[question_id]

    def give_up(self, why: Exception) -> None:
        """Nobody will be answered any more."""
        for awaited in tuple(self._awaited.values()):
            awaited.give_up(why)

    def hand_over(self, back: str, answer: Answer) -> bool:
        """False where somebody may still come for it: then it has not been handed over yet."""
        self._keep(answer)
        if back.startswith(BY_SOCKET) and self.socket is not None:
            return self.socket.deliver(back, answer) or not self.socket.waits_for(back)
        if back.startswith(ASKED_HERE):
            self._tell_here(answer)
            return True
        if self._where.get(answer.stream) == "mqtt" and self._publisher is not None:
            return self._publish(self._publisher, answer)
        self.printer.print(answer)
        return False  # `printed` says when

    def publish_again(self, handed_over: Callable[[Answer], None]) -> None:
        """The link is back: what it could not take before."""
        unpublished, self._unpublished = self._unpublished, deque(maxlen=MOST_UNPUBLISHED)
        for answer in unpublished:
            if self._publisher is not None and self._publish(self._publisher, answer):
                handed_over(answer)

    def _publish(self, publisher: Publisher, answer: Answer) -> bool:
        if publisher.publish_answers([answer]):
            return True
        if not answer.provisional:
            self._unpublished.append(answer)
        return False

    def _tell_here(self, answer: Answer) -> None:
        awaited = self._awaited.get(answer.id)
        if awaited is not None:
            awaited.take(answer)
        if not self._listeners:
            return
        for listener in tuple(self._listeners):
            try:
                listener(answer)
            except Exception:
                log.exception("a listener failed on the answer to %s", answer.id)
