"""The answering end of the MQTT link: a gateway looks at the devices of its site through a broker.

Questions come through a shared subscription: each to one gateway of the group. A message is acknowledged when each of
its questions has had a reply, so the broker gives a gateway no more than it takes (`receive_maximum`). A gateway that
goes leaves no session behind: what it had not answered is for the others, if the broker passes it on (mosquitto does
not), or is asked again by the devices.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from cascade.adapters.transports.intake import take_questions
from cascade.adapters.transports.mqtt_connection import Loss
from cascade.adapters.transports.mqtt_messages import Heard
from cascade.adapters.transports.mqtt_session import MqttSession
from cascade.adapters.transports.mqtt_settings import MqttSettings
from cascade.adapters.transports.transport import PACK_QUESTIONS, Post
from cascade.errors import PeerError
from cascade.inference.events import PeerFaulted, Received, Sent
from cascade.messages import Answer, Key
from cascade.wire.codec import answer_packs, decode_up
from cascade.wire.limits import USUAL, Limits
from cascade.wire.retained import MAX_RETAINED_BYTES, decode_presence
from cascade.wire.topics import (
    ASK,
    METRICS,
    PRESENCE,
    UP,
    Topic,
    answer_topic,
    check_device_name,
    metrics_filter,
    parse_topic,
    presence_filter,
    shared_ask_filter,
)

BACK = "mqtt:"
ANSWER_EXPIRY_S = 60
"""An answer that waited longer at the broker was asked for again."""
OnPresence = Callable[[str, bool, bool], None]
"""Device, whether it is online, whether the broker had this in store (else it has just happened)."""
OnMetrics = Callable[[str, bytes], None]
OnLink = Callable[[bool, str], None]
"""Whether there is a link to the broker, and why not."""


class _Receipt:
    """A message that is acknowledged when the last of its questions has had a reply."""

    __slots__ = ("left", "message")

    def __init__(self, message: Heard, keys: set[Key]) -> None:
        self.message, self.left = message, keys


class MqttBelow:
    """`transport.Below` over MQTT, and, while this gateway holds the desk, the devices' presence and metrics."""

    def __init__(
        self,
        settings: MqttSettings,
        site: str,
        group: str = "gateways",
        *,
        on_presence: OnPresence | None = None,
        on_metrics: OnMetrics | None = None,
        on_link: OnLink | None = None,
        limits: Limits = USUAL,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.site, self.dropped_answers = site, 0
        self._on_presence, self._on_metrics, self._on_link, self._limits = on_presence, on_metrics, on_link, limits
        self._desk_filters = [presence_filter(site), metrics_filter(site)]
        self._session = MqttSession(settings, self, [shared_ask_filter(site, group)], chance=chance)
        self._post: Post = _nowhere
        self._receipts: dict[Key, list[_Receipt]] = {}

    @property
    def trouble(self) -> str:
        """Why there is no link, for people; empty while there is one."""
        return self._session.trouble

    @property
    def unread(self) -> int:
        """Questions that were taken and have had no reply."""
        return len(self._receipts)

    async def open(self, post: Post) -> None:
        """Start connecting. A broker that is not there is not an error: it is waited for."""
        self._post = post
        self._loop = asyncio.get_running_loop()
        await self._session.open()

    async def close(self) -> None:
        await self._session.close()
        self._post = _nowhere
        self._receipts.clear()

    def set_desk(self, held: bool) -> None:
        """What must have one reader is read by whoever holds the site's desk."""
        if held:
            self._session.subscribe(self._desk_filters)
        else:
            self._session.unsubscribe(self._desk_filters)

    def reply(self, back: str, answers: Sequence[Answer]) -> None:
        topic = answer_topic(back.removeprefix(BACK))
        for payload in answer_packs(answers, self._session.largest_payload(topic), PACK_QUESTIONS):
            sent = self._session.publish(topic, payload, expiry_s=ANSWER_EXPIRY_S)
            if sent is None:
                self.dropped_answers += 1
            else:
                self._post(Sent("below", sent))
        for answer in answers:
            self._settle(answer.key)

    def _settle(self, key: Key) -> None:
        """The same question may have come in several messages (asked again): one reply serves them all."""
        for receipt in self._receipts.pop(key, ()):
            receipt.left.discard(key)
            if not receipt.left:
                self._session.ack(receipt.message)

    def ready(self) -> None:
        if self._on_link is not None:
            self._on_link(True, "")

    def lost(self, loss: Loss, unacknowledged: list[Any]) -> None:
        """What was taken over the lost connection can't be acknowledged any more; its answers can still be given."""
        self._receipts.clear()
        if self._on_link is not None:
            self._on_link(False, loss.reason)

    def acknowledged(self, tag: Any, code: int) -> None:
        if code >= 0x80:
            self._post(PeerFaulted("broker", "protocol", f"an answer of this gateway is refused: 0x{code:02x}"))

    def twin(self, detail: str) -> None:
        self._post(PeerFaulted(self._session.settings.client_id, "identity_taken", detail))

    def heard(self, message: Heard) -> None:
        """Nothing that comes in may raise: the connection would go, and the message come again, here or at another."""
        self._post(Received("below", len(message.topic) + len(message.payload)))
        try:
            taken = self._read(message)
        except PeerError as fault:
            taken = False
            self._fault(message, fault)
        except Exception as error:  # noqa: BLE001 - a poison message: given back to nobody, and told aloud
            taken = False
            self._fault(message, PeerError("unparseable", type(error).__name__))
            self._loop.call_exception_handler({"message": "reading a device's message", "exception": error})
        if not taken:
            self._session.ack(message)

    def _fault(self, message: Heard, fault: PeerError) -> None:
        self._post(PeerFaulted(_speaker(message.topic), fault.kind, fault.detail))

    def _read(self, message: Heard) -> bool:
        """True where the message is acknowledged later."""
        topic = parse_topic(message.topic)
        if topic.site != self.site or topic.direction != UP:
            raise PeerError("identity", "a message of another site")
        if topic.subject == ASK:
            return self._read_questions(topic, message)
        if topic.subject == PRESENCE and self._on_presence is not None:
            self._on_presence(topic.device, decode_presence(message.payload, self._limits).online, message.retain)
        elif topic.subject == METRICS and self._on_metrics is not None:
            if len(message.payload) > MAX_RETAINED_BYTES:
                raise PeerError("size", f"metrics of {len(message.payload)} bytes")
            self._on_metrics(topic.device, message.payload)
        return False

    def _read_questions(self, topic: Topic, message: Heard) -> bool:
        if message.retain:
            raise PeerError("protocol", "a retained question: nobody knows how old it is")
        up = decode_up(message.payload, self._limits)
        for fault in up.faults:
            self._fault(message, fault)
        back = BACK + topic.device
        mine = {question.key for question in up.questions if question.device == topic.device}
        if mine:  # before they are posted: a reply may come at once
            self._owe(message, mine)
        _, refusals = take_questions(self._post, up, topic.device, back, topic.device.__eq__)
        if refusals:  # to who sent the questions, not to whose name is in them
            self._loop.call_soon(self.reply, back, refusals)
        return bool(mine)

    def _owe(self, message: Heard, keys: set[Key]) -> None:
        receipt = _Receipt(message, keys)
        for key in keys:
            self._receipts.setdefault(key, []).append(receipt)


def _speaker(topic: str) -> str:
    """Who is to be counted for a fault: a name that is in order, or nobody's."""
    parts = topic.split("/")
    try:
        return check_device_name(parts[3]) if len(parts) > 3 else "unknown"
    except PeerError:
        return "unknown"


def _nowhere(event: object) -> None:
    """Before `open` and after `close`."""
