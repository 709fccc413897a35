"""Staying connected to a broker: connect, subscribe, prove that it lives, and begin again when it does not.

The link is judged by round trips (PUBACK, SUBACK, messages), never by whether a socket is open: a frozen broker keeps
its sockets. Where there was none for `probe_s`, the subscriptions are made again: that asks nobody but the broker,
needs no right to publish, and mends a broker that forgot them. A reconnect starts clean: nothing is queued across it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from cascade.adapters.transports.backoff import SETTLED_S, Backoff
from cascade.adapters.transports.mqtt_connection import (
    ENVELOPE_BYTES,
    TAKEN_OVER,
    Connection,
    Loss,
    Terms,
    Will,
)
from cascade.adapters.transports.mqtt_messages import Heard
from cascade.adapters.transports.mqtt_settings import MqttSettings, check_files, password, tls_context
from cascade.adapters.transports.mqtt_socket import Refused, dial
from cascade.errors import LinkError
from cascade.wire.topics import published_bytes

QUICK_ENDS_OF_A_TWIN = 3
"""mosquitto 2.0 hangs up on the older of two twins without a word: so many quick ends in a row look like one."""
LAST_WORDS_S = 1.0

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who uses a session. Called on the loop's thread; `acknowledged` and `heard` must only take notes."""

    def ready(self) -> None:
        """Connected and subscribed."""

    def lost(self, loss: Loss, unacknowledged: list[Any]) -> None:
        """Of a connection, or of an attempt at one. The tags of what the broker has not acknowledged, oldest first."""

    def acknowledged(self, tag: Any, code: int) -> None: ...

    def heard(self, message: Heard) -> None: ...

    def twin(self, detail: str) -> None:
        """Another client has our name."""


class _Message(NamedTuple):
    topic: str
    payload: bytes
    tag: Any
    retain: bool
    expiry_s: int


class MqttSession:
    """`open`, `publish`, `ack`, `close`. One connection at a time, for ever."""

    def __init__(
        self,
        settings: MqttSettings,
        owner: Owner,
        filters: list[str],
        *,
        will: Will | None = None,
        session_expiry_s: int = 0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings, self.filters = settings, list(filters)
        self.trouble = "not connected yet"
        """Why there is no link, for people; empty while there is one."""
        self.ready = False
        self._owner, self._will, self._session_expiry_s = owner, will, session_expiry_s
        self._backoff = Backoff(settings.backoff_first_s, settings.backoff_most_s, settings.reconnects_a_minute, chance)
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._in_flight: dict[int, Any] = {}
        self._queue: deque[_Message] = deque()
        self._window = 1
        self._drained: asyncio.Future[None] | None = None
        self._largest_packet = settings.max_packet_bytes
        self._clean = True
        self._quick_ends = 0
        self._proved_at = self._asked_at = self._connected_at = 0.0

    async def open(self) -> None:
        """Start connecting. Raises `SettingsError` for files that can't be used."""
        await asyncio.to_thread(check_files, self.settings)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._stay_connected())

    async def close(self, last_words: Callable[[], None] | None = None) -> None:
        """Say goodbye. What was published before is given a second to be acknowledged."""
        connection = self._connection
        if connection is not None and self.ready:
            if last_words is not None:
                last_words()
            await self._sent_or_lost(connection)
            connection.leave()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.ready = False

    async def _sent_or_lost(self, connection: Connection) -> None:
        if self.waiting:
            self._drained = self._loop.create_future()
            ends: list[asyncio.Future[Any]] = [connection.lost, self._drained]
            await asyncio.wait(ends, timeout=LAST_WORDS_S, return_when=asyncio.FIRST_COMPLETED)

    def publish(
        self,
        topic: str,
        payload: bytes,
        tag: Any = None,
        *,
        retain: bool = False,
        expiry_s: int = 0,
        more: bool = False,
    ) -> int | None:
        """Hand a message over; None where that can't be done now. `tag` comes back with its acknowledgement. `more`:
        others follow, and then `flush`.

        Returns how large its packet is.
        """
        if self._connection is None or not self.ready or self.full:
            return None
        self._queue.append(_Message(topic, payload, tag, retain, expiry_s))
        self._send_queued(self._connection)
        if not more:
            self._connection.flush_soon()
        return published_bytes(topic, len(payload), expires=expiry_s > 0)

    def flush(self) -> None:
        """At once, and not with the rest of this turn of the loop."""
        if self._connection is not None:
            self._connection.flush()

    def _send_queued(self, connection: Connection) -> None:
        """As many as the broker lets be in flight; beyond that it may hang up."""
        while self._queue and len(self._in_flight) < self._window:
            message = self._queue[0]
            mid = connection.publish(message.topic, message.payload, message.retain, message.expiry_s)
            if mid is None:
                return
            self._queue.popleft()
            self._in_flight[mid] = message.tag

    @property
    def waiting(self) -> int:
        """How many messages the broker has not acknowledged."""
        return len(self._in_flight) + len(self._queue)

    @property
    def full(self) -> bool:
        return self.waiting >= self.settings.max_queued

    def largest_payload(self, topic: str) -> int:
        return self._largest_packet - len(topic) - ENVELOPE_BYTES

    def ack(self, message: Heard) -> None:
        """Only for messages of the present connection: identifiers begin again with each."""
        if self._connection is not None and message.mid:
            self._connection.ack(message.mid)

    def subscribe(self, filters: list[str]) -> None:
        """More than at the beginning, now and after each connect."""
        self.filters += [name for name in filters if name not in self.filters]
        if self._connection is not None and self.ready:
            self._connection.subscribe(filters)

    def unsubscribe(self, filters: list[str]) -> None:
        self.filters = [name for name in self.filters if name not in filters]
        if self._connection is not None and self.ready:
            self._connection.unsubscribe(filters)

    def give_up(self, reason: str, *, refused: bool = False) -> None:
        """The owner finds that this connection can't work: begin again, later."""
        if self._connection is not None:
            self._connection.drop(Loss(reason, refused=refused))

    async def _stay_connected(self) -> None:
        while True:
            began_at = self._loop.time()
            loss = await self._one_connection()
            lived_s = self._loop.time() - self._connected_at if self._connected_at >= began_at else 0.0
            if loss.reason != self.trouble:
                log.warning("mqtt %s at %s: %s", self.settings.client_id, self.settings.host, loss.reason)
            self.ready, self.trouble = False, loss.reason
            self._look_for_a_twin(loss, lived_s)
            unacknowledged = [*self._in_flight.values(), *(message.tag for message in self._queue)]
            self._in_flight.clear()
            self._queue.clear()
            self._owner.lost(loss, unacknowledged)
            await asyncio.sleep(self._backoff.next_s(self._loop.time(), lived_s, loss.refused))

    async def _one_connection(self) -> Loss:
        """From the first packet to the last."""
        settings = self.settings
        try:
            context = await asyncio.to_thread(tls_context, settings)
            secret = await asyncio.to_thread(password, settings)
            sock = await dial(settings.host, settings.port, context, settings.connect_timeout_s)
        except LinkError as error:
            self._quick_ends = 0
            return Loss(str(error), refused=isinstance(error, Refused), by_broker=False)
        connection = self._connection = Connection(settings, self, sock)
        self._proved_at = self._asked_at = self._loop.time()
        try:
            connection.start(secret, self._will, self._clean, self._session_expiry_s)
            began_at = self._proved_at
            loss = await self._watched(connection)
            return loss if self._connected_at >= began_at or loss.code else _before_it_began(loss, context is not None)
        finally:
            connection.drop(Loss("closed", by_broker=False))
            self._connection = None

    async def _watched(self, connection: Connection) -> Loss:
        """Until the connection is lost: by itself, or because nothing proves any more that the broker lives."""
        settings = self.settings
        step_s = min(settings.probe_s, settings.dead_after_s, settings.connect_timeout_s) / 5
        looked_at = self._loop.time()
        while True:
            done, _ = await asyncio.wait([connection.lost], timeout=step_s)
            if done:
                return connection.lost.result()
            now = self._loop.time()
            # Time in which this process did not run (a model was loaded, a laptop slept) is not the broker's fault.
            self._proved_at += max(0.0, now - looked_at - 2 * step_s)
            looked_at = now
            connection.keep_alive()
            patience_s = settings.dead_after_s if self.ready else settings.connect_timeout_s
            if now - self._proved_at >= patience_s - step_s:
                connection.drop(Loss(f"no sign of life for {now - self._proved_at:.1f} s", by_broker=False))
            elif self.ready and now - max(self._proved_at, self._asked_at) >= settings.probe_s:
                self._asked_at = now
                connection.subscribe(self.filters)

    def _look_for_a_twin(self, loss: Loss, lived_s: float) -> None:
        quick = loss.by_broker and not loss.refused and 0.0 < lived_s < SETTLED_S
        self._quick_ends = self._quick_ends + 1 if quick else 0
        if loss.code == TAKEN_OVER:
            self._owner.twin(f"the broker says that another client is {self.settings.client_id!r}")
        elif self._quick_ends >= QUICK_ENDS_OF_A_TWIN:
            self._owner.twin(f"the broker hung up {self._quick_ends} times soon after connecting")

    def connected(self, terms: Terms) -> None:
        """CONNACK. The session there is our own from now on: later connects resume it."""
        self._clean = False
        self._connected_at = self._proved_at = self._loop.time()
        self._backoff.connected(self._connected_at)
        self._largest_packet = min(self.settings.max_packet_bytes, terms.max_packet_bytes)
        self._window = terms.receive_maximum
        if self._connection is not None:
            self._connection.subscribe(self.filters)

    def subscribed(self, codes: list[int]) -> None:
        self._proved_at = self._loop.time()
        bad = next((code for code in codes if code >= 0x80), None)
        if bad is not None:
            self.give_up(f"the broker refuses a subscription (0x{bad:02x})", refused=True)
        elif not self.ready and self._connection is not None and not self._connection.lost.done():
            self.ready, self.trouble = True, ""
            self._owner.ready()

    def acknowledged(self, mid: int, code: int) -> None:
        self._proved_at = self._loop.time()
        if mid in self._in_flight:
            self._owner.acknowledged(self._in_flight.pop(mid), code)
        if self._queue and self._connection is not None:
            self._send_queued(self._connection)
            self._connection.flush_soon()
        if self._drained is not None and not self.waiting and not self._drained.done():
            self._drained.set_result(None)

    def heard(self, message: Heard) -> None:
        self._proved_at = self._loop.time()
        self._owner.heard(message)


def _before_it_began(loss: Loss, tls: bool) -> Loss:
    """With TLS 1.3 a broker looks at our certificate when the handshake is over; some then just hang up."""
    hint = " (does it take our certificate?)" if tls else ""
    return loss._replace(reason=f"{loss.reason}, before it answered{hint}") if loss.by_broker else loss
