"""One connection to a broker: a paho client on the loop's own thread, from CONNECT to the loss of its socket.

paho connects, subscribes, keeps alive and takes leave; messages and their acknowledgements go past it. A connection has
a paho client of its own, and what is queued goes with it: a reconnect starts clean, and whoever asked asks again.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, NamedTuple, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from cascade.adapters.transports.mqtt_messages import (
    PUBACK,
    PUBLISH,
    Heard,
    Mangled,
    puback,
    publish_head,
    read_puback,
    read_publish,
)
from cascade.adapters.transports.mqtt_packets import packet
from cascade.adapters.transports.mqtt_settings import MqttSettings
from cascade.adapters.transports.mqtt_socket import TurnSocket

TAKEN_OVER = 0x8E
REFUSALS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
"""Codes of CONNACK that trying again does not mend: version, client id, password, rights, banned, method."""
PACKETS_PER_TURN = 1024
LAST_MID, FIRST_MID = 65535, 32768
"""Identifiers of messages. paho numbers its subscriptions from below."""
ENVELOPE_BYTES = 64
"""More than a PUBLISH takes beside its topic and payload."""
ACK_WITHIN_S = 0.05
"""For so long an acknowledgement waits for something to travel with. It keeps nobody waiting; but a write of its own
takes as long as a model call."""
ACKS_AT_ONCE = 8
"""One in so many of those that the broker may wait for: at more of them the window would narrow."""


class Loss(NamedTuple):
    """How a connection ended."""

    reason: str
    code: int = 0
    """Of the broker's DISCONNECT or CONNACK, if it said anything."""
    refused: bool = False
    by_broker: bool = True


class Terms(NamedTuple):
    """What the broker grants in CONNACK."""

    receive_maximum: int
    max_packet_bytes: int


class Will(NamedTuple):
    """What the broker publishes for us, retained, when we fall silent."""

    topic: str
    payload: bytes


class Ears(Protocol):
    """Who listens to a connection. Called on the loop's thread; `heard` and `acknowledged` must only take notes."""

    def connected(self, terms: Terms) -> None: ...
    def subscribed(self, codes: list[int]) -> None: ...
    def acknowledged(self, mid: int, code: int) -> None: ...
    def heard(self, message: Heard) -> None: ...


class _Client(paho.Client):
    """paho, given a socket that is open already: its own way to open one blocks."""

    opened: TurnSocket

    def _create_socket(self) -> TurnSocket:
        return self.opened


class Connection:
    """Opened by `start`; ended by `lost`, which is set exactly once."""

    def __init__(self, settings: MqttSettings, ears: Ears, sock: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Loss] = self.loop.create_future()
        self._settings, self._ears = settings, ears
        self._sock = TurnSocket(sock, settings.max_packet_bytes)
        self._client = self._paho()
        self._flush_is_due = self._ack_is_due = self._writer_is_on = self._watching = False
        self._acks, self._most_acks = 0, max(1, settings.receive_maximum // ACKS_AT_ONCE)
        """Written since the last flush."""
        self._mid = FIRST_MID

    def _paho(self) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            self._settings.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.opened = self._sock
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_want_write
        return client

    def start(self, password: str | None, will: Will | None, clean: bool, session_expiry_s: int) -> None:
        settings = self._settings
        if settings.username:
            self._client.username_pw_set(settings.username, password)
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = settings.max_packet_bytes
        self._client.connect(
            settings.host, settings.port, settings.keepalive_s, clean_start=clean, properties=properties
        )

    def subscribe(self, filters: list[str]) -> None:
        """Retained messages come with the first subscription only, so asking again is a cheap proof of life."""
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._client.subscribe([(name, options) for name in filters])

    def unsubscribe(self, filters: list[str]) -> None:
        self._client.unsubscribe(filters)

    def publish(self, topic: str, payload: bytes, retain: bool, expiry_s: int) -> int | None:
        """QoS 1, sent with the next flush. The packet's identifier, or None where there is no room. An expiry of 0 is
        none.

        The session bounds how many are in flight, so an identifier has long been free when its turn comes again.
        """
        if self._sock.crowded or self.lost.done():
            return None
        self._mid = self._mid + 1 if self._mid < LAST_MID else FIRST_MID
        self._sock.write(publish_head(topic, len(payload), self._mid, retain, expiry_s))
        self._sock.write(payload)
        return self._mid

    def ack(self, mid: int) -> None:
        """Goes with what is sent next, or alone before long."""
        if self.lost.done():
            return
        self._sock.write(puback(mid))
        self._acks += 1
        if self._acks >= self._most_acks:
            self.flush_soon()
        elif not self._ack_is_due:
            self._ack_is_due = True
            self.loop.call_later(ACK_WITHIN_S, self._flush_acks)

    def _flush_acks(self) -> None:
        self._ack_is_due = False
        if self._acks:
            self.flush()

    def keep_alive(self) -> None:
        self._client.loop_misc()

    def drop(self, loss: Loss) -> None:
        """Close without a goodbye: the broker reads our will."""
        self._lose(loss)
        self._close()

    def leave(self) -> None:
        """Say goodbye; the will is not read."""
        self._client.disconnect()
        self.flush()
        self.drop(Loss("closed", by_broker=False))

    def _close(self) -> None:
        self._stop_watching()
        self._sock.close()

    def _lose(self, loss: Loss) -> None:
        if not self.lost.done():
            self.lost.set_result(loss)

    def _readable(self) -> None:
        if self.lost.done():
            return
        self._sock.begin_turn()
        try:
            for _ in range(PACKETS_PER_TURN):
                whole = self._sock.packet()
                if whole is None or self.lost.done():
                    return
                self._take(*whole)
        except OSError:
            self.drop(Loss(self._sock.fault))
        except Mangled as error:
            self.drop(Loss(f"the broker breaks the protocol: {error}"))
        except Exception as error:  # noqa: BLE001 - it would come again with the next byte; the connection has to go
            self.loop.call_exception_handler({"message": "reading from the broker", "exception": error})
            self.drop(Loss(f"an error of ours: {type(error).__name__}", by_broker=False))
        else:
            self.loop.call_soon(self._readable)

    def _take(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == PUBLISH:
            self._ears.heard(read_publish(first, body))
        elif kind == PUBACK:
            self._ears.acknowledged(*read_puback(body))
        else:
            self._sock.lend(packet(first, body))
            self._client.loop_read()

    def flush_soon(self) -> None:
        """With what else is written in this turn of the loop."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        self._acks = 0
        if self.lost.done():
            return
        if self._client.want_write():
            self._flush_is_due = True  # so that paho's wish to write calls for no other flush from inside of this one
            self._client.loop_write()
        self._flush_is_due = False
        try:
            self._sock.flush()
        except OSError:
            fault = self._sock.fault
            self._readable()  # what it acknowledged last tells on which message a broker hung up
            self.drop(Loss(fault))
        else:
            self._watch_writing(self._sock.unsent or self._client.want_write())

    def _watch_writing(self, wanted: bool) -> None:
        if wanted and not self._writer_is_on and not self.lost.done():
            self.loop.add_writer(self._sock.fileno(), self.flush)
        elif self._writer_is_on and not wanted:
            self.loop.remove_writer(self._sock.fileno())
        self._writer_is_on = wanted

    def _stop_watching(self) -> None:
        """Once only: paho takes leave of its socket again when it is collected; its number may be another's by then."""
        if self._watching:
            self._watching = False
            self.loop.remove_reader(self._sock.fileno())
            self.loop.remove_writer(self._sock.fileno())

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._watching = True
        self.loop.add_reader(self._sock.fileno(), self._readable)

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._stop_watching()

    def _on_want_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self.flush_soon()

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, terms: Properties | None
    ) -> None:
        if code.is_failure:
            self._lose(Loss(f"refused: {_named(code)}", code.value, refused=code.value in REFUSALS))
            return
        granted = Terms(getattr(terms, "ReceiveMaximum", 65535), getattr(terms, "MaximumPacketSize", 2**28))
        self.loop.call_soon(self._ears.connected, granted)

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server and code is not None:
            self._lose(Loss(f"the broker hung up: {_named(code)}", code.value, refused=code.value in REFUSALS))
        else:
            self._lose(Loss(self._sock.fault or "the broker breaks the protocol, or is silent"))

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, codes: list[ReasonCode], properties: Any
    ) -> None:
        self.loop.call_soon(self._ears.subscribed, [code.value for code in codes])


def _named(code: ReasonCode) -> str:
    return f"{code.getName().lower()} (0x{code.value:02x})"
