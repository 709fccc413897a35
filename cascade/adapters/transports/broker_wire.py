"""One connection to the embedded broker: bytes in, packets to the broker, packets out in one write per turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_session import Session
from cascade.adapters.transports.mqtt_packets import Malformed, Will

if TYPE_CHECKING:
    from cascade.adapters.transports.embedded_broker import EmbeddedBroker

MOST_UNSENT_BYTES = 1024 * 1024
"""What may wait in the socket of a slow reader before its session holds messages back."""


class BrokerWire(asyncio.Protocol):
    """Speaks MQTT 5 with one client. A violation ends the connection with its reason code, and harms nobody else."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.session: Session | None = None
        self.will: Will | None = None
        self.writable = True
        self.keepalive_s = 0
        self.opened_at = self.last_heard = broker.now()
        self.user = ""
        self._transport: asyncio.Transport | None = None
        self._incoming = bytearray()
        self._outgoing: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MOST_UNSENT_BYTES)
        self.broker.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.broker.left(self)
        self._transport = None

    def pause_writing(self) -> None:
        """Who does not read is not read from: each packet that it sends would bring it another one."""
        self.writable = False
        self._hear(False)

    def resume_writing(self) -> None:
        self.writable = True
        self._hear(not self.broker.frozen)
        if self.session is not None:
            self.session.pump(self.broker.now())

    def freeze(self) -> None:
        """Stay connected and do nothing: what a stopped process looks like from outside."""
        self._hear(False)

    def _hear(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def thaw(self) -> None:
        self.last_heard = self.broker.now()
        self._hear(self.writable)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.last_heard = self.broker.now()
        self._incoming += data
        try:
            self._take_packets()
        except Malformed as fault:
            self.refuse(fault.code)

    def _take_packets(self) -> None:
        buffer, at = self._incoming, 0
        if self.session is None and buffer and buffer[0] != packets.CONNECT:
            raise Malformed(packets.PROTOCOL_ERROR, "the first packet must be CONNECT")
        while self._transport is not None and (head := packets.head_of(buffer, at)) is not None:
            start, length = head
            if start - at + length > self.broker.bounds.packet_bytes:
                raise Malformed(packets.TOO_LARGE, f"a packet of {length} bytes")
            if start + length > len(buffer):
                break
            first, at = buffer[at], start + length
            self._handle(first, bytes(buffer[start:at]))
        del buffer[:at]

    def _handle(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if self.session is None:
            self.broker.connect(self, packets.read_connect(body))
        elif kind == packets.PUBLISH:
            self.broker.publish(self, packets.read_publish(first, body))
        elif kind == packets.PUBACK:
            self.session.acknowledged(int.from_bytes(body[:2], "big"), self.broker.now())
        else:
            self._handle_rare(kind, body, self.session)

    def _handle_rare(self, kind: int, body: bytes, session: Session) -> None:
        if kind == packets.PINGREQ:
            self.send(bytes((packets.PINGRESP, 0)))
        elif kind == packets.SUBSCRIBE:
            self.broker.subscribe(self, session, *packets.read_subscribe(body))
        elif kind == packets.UNSUBSCRIBE:
            self.broker.unsubscribe(self, session, *packets.read_unsubscribe(body))
        elif kind == packets.DISCONNECT:
            reason, expiry_s = packets.read_disconnect(body)
            if expiry_s is not None:
                session.expiry_s = min(expiry_s, self.broker.bounds.session_expiry_s)
            if reason != packets.WITH_WILL:
                self.will = None
            self.close()
        else:
            raise Malformed(packets.PROTOCOL_ERROR, f"packet {kind:#x} is not expected here")

    def send(self, data: bytes) -> None:
        self._outgoing.append(data)
        if len(self._outgoing) == 1:
            self.broker.loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and not self.broker.frozen:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            self._transport.write(data)

    def refuse(self, code: int) -> None:
        """Say why, and hang up. Before CONNACK there is only CONNACK to say it with."""
        self.send(packets.disconnect(code) if self.session is not None else packets.connack(code))
        self.close()

    def close(self) -> None:
        """The client is gone for the broker at once, even where its socket takes a while to close."""
        self._flush()
        transport, self._transport = self._transport, None
        self._incoming.clear()
        self.broker.left(self)
        if transport is not None:
            transport.close()

    def abort(self) -> None:
        """Drop the connection as a crash would."""
        if self._transport is not None:
            self._transport.abort()
