"""The way between two hops of a simulated world: slow, lossy, repeating itself, out of order, or cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from cascade.adapters.transports.transport import PACK_QUESTIONS
from cascade.adapters.world.clock import WorldClock
from cascade.inference.events import Answered, Asked, Event, LinkLost, LinkUp, Received, Sent
from cascade.messages import Answer, Question, Word
from cascade.wire.codec import decode_answers, decode_questions, encode_answers, encode_questions


class Weather(Word, frozen=True, gc=False, kw_only=True):
    """What a link does to messages. Shares are chances per message."""

    latency_s: float = 0.005
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """This share of messages takes `late_s` longer, and is overtaken."""
    late_s: float = 0.05
    notice_s: float = 1.0
    """How long after a cut the lower end notices."""
    bytes_per_s: float = 0.0
    """In each direction. A message leaves when those before it have left. 0: no limit."""


Post = Callable[[Event], None]


class SimulatedLink:
    """Joins one hop to the one above it. Messages go through the real codec, so their bytes are the real ones."""

    def __init__(self, clock: WorldClock, weather: Weather, chance: Random, name: str) -> None:
        self.clock, self.weather, self.name = clock, weather, name
        self._chance = chance
        self._cuts = 0
        self._epoch = 0
        self._free_at = {"up": 0.0, "down": 0.0}
        self.bytes_up = 0
        """What was sent, whether it arrived or not."""
        self.bytes_down = 0
        self.below: Post | None = None
        """Into the hop that asks. None while it is down."""
        self.above: Post | None = None

    @property
    def whole(self) -> bool:
        return self._cuts == 0

    def connect(self, below: Post) -> None:
        """The lower hop started: it hears of the link after a round trip."""
        self.below = below
        self._epoch += 1
        self._tell_when_up(2.0 * self.weather.latency_s)

    def disconnect(self) -> None:
        self.below = None
        self._epoch += 1

    def cut(self) -> None:
        self._cuts += 1
        if self._cuts == 1:
            epoch = self._epoch
            self.clock.after(self.weather.notice_s, lambda: self._tell_lost(epoch))

    def heal(self) -> None:
        self._cuts -= 1
        if self.whole:
            self._tell_when_up(2.0 * self.weather.latency_s)

    def ask(self, questions: Sequence[Question]) -> None:
        for start in range(0, len(questions), PACK_QUESTIONS):
            pack = questions[start : start + PACK_QUESTIONS]
            message = encode_questions(pack)
            self.bytes_up += len(message)
            self._to_below(Sent("above", len(message), tuple(question.key for question in pack)))
            leaves_s = self._leaves_after("up", len(message))
            self._carry(lambda message=message: self._arrive_above(message), leaves_s)  # type: ignore[misc]

    def reply(self, answers: Sequence[Answer]) -> None:
        message = encode_answers(answers)
        self.bytes_down += len(message)
        if self.above is not None:
            self.above(Sent("below", len(message)))
        self._carry(lambda: self._arrive_below(message), self._leaves_after("down", len(message)))

    def _arrive_above(self, message: bytes) -> None:
        if self.above is None:
            return
        self.above(Received("below", len(message)))
        for question in decode_questions(message):
            self.above(Asked(question, self.name))

    def _arrive_below(self, message: bytes) -> None:
        self._to_below(Received("above", len(message)))
        for answer in decode_answers(message):
            self._to_below(Answered(answer))

    def _leaves_after(self, way: str, size: int) -> float:
        """Seconds until the last byte of a message has left."""
        rate = self.weather.bytes_per_s
        if not rate:
            return 0.0
        self._free_at[way] = max(self._free_at[way], self.clock.now) + size / rate
        return self._free_at[way] - self.clock.now

    def _carry(self, arrive: Callable[[], None], leaves_s: float) -> None:
        """Each message meets its own fate, and one that is under way when the link is cut is gone."""
        weather, chance = self.weather, self._chance
        copies = 2 if chance.random() < weather.duplication else 1
        for _ in range(copies):
            lost = chance.random() < weather.loss
            delay = leaves_s + weather.latency_s + weather.jitter_s * chance.random()
            if chance.random() < weather.reordering:
                delay += weather.late_s
            if not lost and self.whole:
                self.clock.after(delay, lambda: arrive() if self.whole else None)

    def _to_below(self, event: Event) -> None:
        if self.below is not None:
            self.below(event)

    def _tell_when_up(self, seconds: float) -> None:
        epoch = self._epoch

        def tell() -> None:
            if self.whole and epoch == self._epoch:
                self._to_below(LinkUp())

        self.clock.after(seconds, tell)

    def _tell_lost(self, epoch: int) -> None:
        if not self.whole and epoch == self._epoch:
            self._to_below(LinkLost("cut"))
