"""The asking end of the MQTT link: a device looks at the gateways of its site through a broker.

The hop above is there when the broker answers *and* a gateway listens. The broker says so with every question it takes
(reason 0x10: nobody subscribes), so the link is lost at the first question that nobody would read; an empty question
asks again from time to time whether somebody does.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cascade.adapters.transports.mqtt_connection import Loss, Will
from cascade.adapters.transports.mqtt_messages import Heard
from cascade.adapters.transports.mqtt_session import MqttSession
from cascade.adapters.transports.mqtt_settings import MqttSettings
from cascade.adapters.transports.transport import PACK_QUESTIONS, Post
from cascade.errors import PeerError
from cascade.inference.events import Answered, LinkLost, LinkUp, PeerFaulted, Received, Sent, Unsendable
from cascade.messages import Answer, Key, Question
from cascade.wire.codec import answer_packs, decode_down, encode_presence, encode_up, packs
from cascade.wire.limits import USUAL, Limits
from cascade.wire.retained import Presence
from cascade.wire.topics import (
    ANSWER,
    DOWN,
    answers_topic,
    ask_topic,
    down_filter,
    metrics_topic,
    parse_topic,
    presence_topic,
    up_topic,
)

NOBODY_LISTENS, NOT_AUTHORIZED, TOO_LARGE, QUOTA = 0x10, 0x87, 0x95, 0x97
OBSTACLES = {
    NOBODY_LISTENS: "no gateway listens",
    NOT_AUTHORIZED: "the broker does not let this device ask",
    TOO_LARGE: "the broker takes no message so large",
    QUOTA: "the broker has no room",
}
FULL = "the broker does not keep up"
STRIKES = 3
"""A question on which the broker hung up so many times in a row is not sent again."""
MOST_SUSPECTS = 512

OnOther = Callable[[str, bytes, bool], None]
"""Subject, content, whether it was retained: of messages down to this device that are not answers."""


class _Asked(NamedTuple):
    keys: tuple[Key, ...]


class _Probed(NamedTuple):
    """An empty question."""


class _Present(NamedTuple):
    """Our presence."""


class MqttAbove:
    """`transport.Above` over MQTT, and the device's presence, metrics and answers for applications beside it."""

    def __init__(
        self,
        settings: MqttSettings,
        device: str,
        *,
        runtime: str = "",
        on_other: OnOther | None = None,
        limits: Limits = USUAL,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.device, self._runtime, self._on_other, self._limits, self._chance = (
            device,
            runtime,
            on_other,
            limits,
            chance,
        )
        self._ask_topic = ask_topic(device)
        self._presence_topic = presence_topic(device)
        gone = Will(self._presence_topic, encode_presence(Presence(False, runtime)))
        self._session = MqttSession(
            settings, self, [down_filter(device)], will=gone, session_expiry_s=settings.session_expiry_s, chance=chance
        )
        self._post: Post = _nowhere
        self._up: bool | None = None
        self._obstacle = ""
        self._suspects: dict[Key, int] = {}
        self._probe_timer: asyncio.TimerHandle | None = None
        self._probe_delay_s = settings.backoff_first_s

    @property
    def trouble(self) -> str:
        """Why there is no link, for people; empty while there is one."""
        return self._session.trouble or self._obstacle

    async def open(self, post: Post) -> None:
        self._post = post
        self._loop = asyncio.get_running_loop()
        await self._session.open()

    async def close(self) -> None:
        self._stop_probing()
        await self._session.close(self._say_goodbye)
        self._stop_probing()
        self._post = _nowhere

    def ask(self, questions: Sequence[Question]) -> None:
        """Dropped while the link is lost: the hop knows that, and asks again."""
        if not self._up:
            return
        if self._suspects:
            for question in questions:
                if question.key in self._suspects:
                    self._ask_packed([question])
            questions = [question for question in questions if question.key not in self._suspects]
        if questions:
            self._ask_packed(questions)
        self._session.flush()

    def _ask_packed(self, questions: Sequence[Question]) -> None:
        longest_ms = max(question.ms_left + question.keep_ms for question in questions)
        expiry_s = _whole_seconds(longest_ms)
        unsendable: list[Unsendable] = []
        messages = packs(
            questions,
            self._session.largest_payload(self._ask_topic),
            PACK_QUESTIONS,
            max_question_bytes=self._limits.max_question_bytes,
            unsendable=unsendable,
        )
        for payload, keys in messages:
            sent = self._session.publish(self._ask_topic, payload, _Asked(keys), expiry_s=expiry_s, more=True)
            if sent is None:
                if self._session.full:
                    self._obstruct(FULL)
                break
            self._post(Sent("above", sent, keys))
        for event in unsendable:
            self._post(event)

    def publish_metrics(self, data: bytes) -> bool:
        """False where it can't be sent now: the next ones say more."""
        return self._session.publish(metrics_topic(self.device), data, expiry_s=60) is not None

    def publish_answers(self, answers: Sequence[Answer]) -> bool:
        """For applications that listen at the broker; best effort, unlike the application at the agent's own socket."""
        topic = answers_topic(self.device)
        payloads = answer_packs(answers, self._session.largest_payload(topic), PACK_QUESTIONS)
        return all(self._session.publish(topic, payload, expiry_s=60) is not None for payload in payloads)

    def publish_up(self, subject: str, data: bytes, *, retain: bool = False, expiry_s: int = 0) -> bool:
        """For other flows over the same connection (reports of updates)."""
        topic = up_topic(self.device, subject)
        return self._session.publish(topic, data, retain=retain, expiry_s=expiry_s) is not None

    def ready(self) -> None:
        self._say_presence(True)
        self._probe_delay_s = self._session.settings.backoff_first_s
        self._probe()

    def _say_presence(self, online: bool) -> None:
        content = encode_presence(Presence(online, self._runtime))
        self._session.publish(self._presence_topic, content, _Present(), retain=True)

    def _say_goodbye(self) -> None:
        self._say_presence(False)

    def _probe(self) -> None:
        """Asks nothing: the broker's acknowledgement tells whether a gateway would have read it."""
        self._stop_probing()
        self._session.publish(self._ask_topic, encode_up(ping=1), _Probed(), expiry_s=1)

    def _probe_later(self) -> None:
        self._stop_probing()
        delay_s = self._probe_delay_s * (0.5 + 0.5 * self._chance())
        self._probe_delay_s = min(2 * self._probe_delay_s, self._session.settings.probe_s)
        self._probe_timer = self._loop.call_later(delay_s, self._probe)

    def _stop_probing(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None

    def acknowledged(self, tag: Any, code: int) -> None:
        if isinstance(tag, _Asked) and self._suspects and code < 0x80:
            for key in tag.keys:
                self._suspects.pop(key, None)
        if isinstance(tag, _Asked) and code == TOO_LARGE and self._alone_too_large(tag.keys):
            return
        if isinstance(tag, _Asked | _Probed):
            if code:
                self._loop.call_soon(
                    self._obstruct, OBSTACLES.get(code, f"the broker refuses questions (0x{code:02x})")
                )
            elif not self._up:
                self._clear(by_probe=isinstance(tag, _Probed))
        elif code >= 0x80:
            self._post(PeerFaulted("broker", "protocol", f"a message of {self.device} is refused: 0x{code:02x}"))

    def _alone_too_large(self, keys: tuple[Key, ...]) -> bool:
        """A broker may keep its limit to itself until it is met. Of several questions nobody knows which is meant: they
        are asked again one by one."""
        if len(keys) == 1:
            self._post(Unsendable(keys[0], OBSTACLES[TOO_LARGE]))
            return True
        for key in keys:
            self._suspect(key, 0)
        return False

    def _suspect(self, key: Key, strikes: int) -> None:
        self._suspects[key] = strikes
        while len(self._suspects) > MOST_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]

    def _clear(self, by_probe: bool) -> None:
        """An acknowledged probe clears any obstacle but a full queue; that clears when half of it is acknowledged."""
        settings = self._session.settings
        done = self._session.waiting <= settings.max_queued // 2 if self._obstacle == FULL else by_probe
        if done and self._session.ready:
            self._stop_probing()
            self._obstacle, self._up = "", True
            self._probe_delay_s = settings.backoff_first_s
            self._post(LinkUp())

    def _obstruct(self, reason: str) -> None:
        """The broker is there, and yet asking makes no sense now."""
        if not self._session.ready:
            return
        self._obstacle = reason
        self._tell_lost(reason)
        if reason != FULL:
            self._probe_later()

    def _tell_lost(self, reason: str) -> None:
        """Once for each time it was up; and once for why it never was."""
        if self._up is not False:
            self._up = False
            self._post(LinkLost(reason))

    def lost(self, loss: Loss, unacknowledged: list[Any]) -> None:
        self._stop_probing()
        self._obstacle = ""
        self._tell_lost(loss.reason)
        if loss.by_broker and not loss.refused:
            self._strike(next((tag for tag in unacknowledged if isinstance(tag, _Asked)), None))

    def _strike(self, head: _Asked | None) -> None:
        """What the broker should have acknowledged next may be why it hung up. From now on it travels alone."""
        for key in head.keys if head else ():
            strikes = self._suspects.pop(key, 0) + 1
            if strikes < STRIKES:
                self._suspect(key, strikes)
            else:
                self._post(Unsendable(key, f"the broker hung up on it {STRIKES} times"))

    def twin(self, detail: str) -> None:
        self._post(PeerFaulted(self.device, "identity_taken", detail))

    def heard(self, message: Heard) -> None:
        """Acknowledged before it is read: what can't be read does not come again, and an answer can be asked for."""
        self._session.ack(message)
        self._post(Received("above", len(message.topic) + len(message.payload)))
        try:
            self._read(message)
        except PeerError as fault:
            self._post(PeerFaulted("above", fault.kind, fault.detail))

    def _read(self, message: Heard) -> None:
        topic = parse_topic(message.topic)
        if topic.device != self.device or topic.direction != DOWN:
            raise PeerError("topic", "a message that is not for this device")
        if topic.subject != ANSWER:
            if self._on_other is not None:
                self._on_other(topic.subject, message.payload, message.retain)
            return
        if message.retain:
            raise PeerError("protocol", "a retained answer: nobody knows how old it is")
        down = decode_down(message.payload, self._limits)
        for answer in down.answers:
            if answer.device == self.device:
                self._post(Answered(answer))
            else:
                self._post(PeerFaulted("above", "identity", "an answer for another device"))
        for fault in down.faults:
            self._post(PeerFaulted("above", fault.kind, fault.detail))


def _whole_seconds(ms: float) -> int:
    return min(max(1, math.ceil(ms / 1000.0)), 2**31)


def _nowhere(event: object) -> None:
    """Before `open` and after `close`."""
