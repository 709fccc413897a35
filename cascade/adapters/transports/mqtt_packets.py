"""MQTT 5 packets as a server reads and writes them; properties go through paho's own codec.

Every reader here is bounded by the packet, whose length was checked before its bytes were kept. What can't be parsed
raises `Malformed` with the reason code that the client is sent away with. QoS 2 and AUTH are not spoken.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 0x80, 0x90, 0xA0, 0xB0
PINGREQ, PINGRESP, DISCONNECT = 0xC0, 0xD0, 0xE0

SUCCESS, WITH_WILL, NO_SUBSCRIBERS, NO_SUBSCRIPTION = 0x00, 0x04, 0x10, 0x11
MALFORMED, PROTOCOL_ERROR, OTHER_VERSION, BAD_CLIENT_ID = 0x81, 0x82, 0x84, 0x85
BAD_PASSWORD, NOT_AUTHORIZED, SERVER_BUSY, SHUTTING_DOWN = 0x86, 0x87, 0x89, 0x8B
KEEPALIVE_TIMEOUT, TAKEN_OVER, FILTER_INVALID, TOPIC_INVALID = 0x8D, 0x8E, 0x8F, 0x90
RECEIVE_MAXIMUM_EXCEEDED, TOPIC_ALIAS_INVALID, TOO_LARGE, QUOTA, QOS_UNSUPPORTED = 0x93, 0x94, 0x95, 0x97, 0x9B

_MANGLED = (struct.error, IndexError, KeyError, ValueError, MQTTException)
"""What paho's codec raises on rubbish (a UnicodeDecodeError is a ValueError)."""


class Malformed(Exception):
    """A packet that breaks the protocol; `code` goes back in DISCONNECT (or CONNACK)."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Message(NamedTuple):
    """An application message on its way through the broker."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    expires_at: float | None = None
    extras: bytes = b""
    """The properties that pass through unread, packed, without the expiry."""

    @property
    def size(self) -> int:
        """About what it takes in memory: all of it came from a client."""
        return len(self.topic) + len(self.payload) + len(self.extras) + 128


class Publish(NamedTuple):
    message: Message
    mid: int
    expiry_s: int | None


class Will(NamedTuple):
    message: Message
    delay_s: int
    expiry_s: int | None


class Connect(NamedTuple):
    client_id: str
    clean_start: bool
    keepalive_s: int
    session_expiry_s: int
    receive_maximum: int
    max_packet_bytes: int
    will: Will | None
    username: str | None
    password: bytes | None


class Wanted(NamedTuple):
    """One filter of a SUBSCRIBE."""

    filter: str
    qos: int
    no_local: bool
    as_published: bool
    retain_handling: int


class _Reader:
    """Takes fields off the front of a packet's body."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "big")

    def raw(self, size: int) -> bytes:
        if self.at + size > len(self.body):
            raise Malformed(MALFORMED, "the packet ends too early")
        self.at += size
        return self.body[self.at - size : self.at]

    def binary(self) -> bytes:
        return self.raw(self.number(2))

    def text(self) -> str:
        text = self.binary().decode()
        if "\0" in text:
            raise Malformed(MALFORMED, "a null character in a string")
        return text

    def properties(self, kind: int) -> Properties | None:
        """None where there are none, which is nearly always: paho's codec takes tens of microseconds."""
        if self.at < len(self.body) and self.body[self.at] == 0:
            self.at += 1
            return None
        properties, used = Properties(kind).unpack(self.body[self.at :])  # type: ignore[no-untyped-call]
        self.at += used
        if self.at > len(self.body):
            raise Malformed(MALFORMED, "properties longer than their packet")
        return properties  # type: ignore[no-any-return]

    def rest(self) -> bytes:
        return self.body[self.at :]


def head_of(buffer: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins, and how long it is; None while its head isn't all there."""
    length = shift = 0
    for at in range(start + 1, min(start + 5, len(buffer))):
        length |= (buffer[at] & 0x7F) << shift
        if not buffer[at] & 0x80:
            return at + 1, length
        shift += 7
    if len(buffer) >= start + 5:
        raise Malformed(MALFORMED, "a length of more than four bytes")
    return None


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + varint(len(body)) + body


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, digit = number >> 7, number & 0x7F
        out.append(digit | 0x80 if number else digit)
        if not number:
            return bytes(out)


def text(string: str) -> bytes:
    data = string.encode()
    return len(data).to_bytes(2, "big") + data


def read_connect(body: bytes) -> Connect:
    try:
        return _connect(_Reader(body))
    except _MANGLED as error:
        raise Malformed(MALFORMED, str(error)) from error


def _connect(reader: _Reader) -> Connect:
    name, version, flags = reader.text(), reader.number(1), reader.number(1)
    if (name, version) != ("MQTT", 5):
        raise Malformed(OTHER_VERSION, f"{name} version {version}: only MQTT 5 is spoken here")
    if flags & 0x01:
        raise Malformed(MALFORMED, "a reserved flag is set")
    keepalive_s = reader.number(2)
    properties = reader.properties(PacketTypes.CONNECT)
    client_id = reader.text()
    will = _will(reader, flags) if flags & 0x04 else None
    return Connect(
        client_id=client_id,
        clean_start=bool(flags & 0x02),
        keepalive_s=keepalive_s,
        session_expiry_s=getattr(properties, "SessionExpiryInterval", 0),
        receive_maximum=getattr(properties, "ReceiveMaximum", 65535),
        max_packet_bytes=getattr(properties, "MaximumPacketSize", 268_435_455),
        will=will,
        username=reader.text() if flags & 0x80 else None,
        password=reader.binary() if flags & 0x40 else None,
    )


def _will(reader: _Reader, flags: int) -> Will:
    properties = reader.properties(PacketTypes.WILLMESSAGE)
    delay_s = getattr(properties, "WillDelayInterval", 0)
    if properties is not None and hasattr(properties, "WillDelayInterval"):
        del properties.WillDelayInterval
    expiry_s, extras = _split_expiry(properties)
    topic, payload = topic_name(reader.text()), reader.binary()
    qos = min((flags >> 3) & 0x03, 1)
    return Will(Message(topic, payload, qos, bool(flags & 0x20), extras=extras), delay_s, expiry_s)


def read_publish(first: int, body: bytes) -> Publish:
    try:
        reader = _Reader(body)
        topic, qos = reader.text(), (first >> 1) & 0x03
        if qos > 1:
            raise Malformed(QOS_UNSUPPORTED, "QoS 2 is not spoken here")
        mid = reader.number(2) if qos else 0
        properties = reader.properties(PacketTypes.PUBLISH)
    except _MANGLED as error:
        raise Malformed(MALFORMED, str(error)) from error
    if properties is not None and hasattr(properties, "TopicAlias"):
        raise Malformed(TOPIC_ALIAS_INVALID, "no topic aliases were offered")
    if qos and not mid:
        raise Malformed(PROTOCOL_ERROR, "a packet identifier of zero")
    expiry_s, extras = _split_expiry(properties)
    return Publish(Message(topic_name(topic), reader.rest(), qos, bool(first & 1), extras=extras), mid, expiry_s)


def _split_expiry(properties: Properties | None) -> tuple[int | None, bytes]:
    if properties is None:
        return None, b""
    expiry_s = None
    if hasattr(properties, "MessageExpiryInterval"):
        expiry_s = properties.MessageExpiryInterval
        del properties.MessageExpiryInterval
    if hasattr(properties, "SubscriptionIdentifier"):
        raise Malformed(PROTOCOL_ERROR, "a client may not send a subscription identifier")
    return expiry_s, b"" if properties.isEmpty() else _unwrapped(properties.pack())  # type: ignore[no-untyped-call]


def _unwrapped(packed: bytes) -> bytes:
    """Packed properties without their own length."""
    at = next(at for at, byte in enumerate(packed) if not byte & 0x80)
    return packed[at + 1 :]


def topic_name(topic: str) -> str:
    if not topic or "+" in topic or "#" in topic:
        raise Malformed(TOPIC_INVALID, "a topic that is empty or has a wildcard")
    return topic


def read_subscribe(body: bytes) -> tuple[int, list[Wanted]]:
    try:
        reader = _Reader(body)
        mid = reader.number(2)
        reader.properties(PacketTypes.SUBSCRIBE)
        wanted = []
        while reader.at < len(body):
            name, options = reader.text(), reader.number(1)
            wanted.append(Wanted(name, min(options & 3, 1), bool(options & 4), bool(options & 8), (options >> 4) & 3))
    except _MANGLED as error:
        raise Malformed(MALFORMED, str(error)) from error
    if not wanted or not mid:
        raise Malformed(PROTOCOL_ERROR, "a SUBSCRIBE without a filter or an identifier")
    return mid, wanted


def read_unsubscribe(body: bytes) -> tuple[int, list[str]]:
    try:
        reader = _Reader(body)
        mid = reader.number(2)
        reader.properties(PacketTypes.UNSUBSCRIBE)
        filters = []
        while reader.at < len(body):
            filters.append(reader.text())
    except _MANGLED as error:
        raise Malformed(MALFORMED, str(error)) from error
    return mid, filters


def read_disconnect(body: bytes) -> tuple[int, int | None]:
    """The reason, and the session expiry where the client changed it."""
    try:
        reader = _Reader(body)
        reason = reader.number(1) if body else SUCCESS
        properties = reader.properties(PacketTypes.DISCONNECT) if len(body) > 1 else None
    except _MANGLED as error:
        raise Malformed(MALFORMED, str(error)) from error
    return reason, getattr(properties, "SessionExpiryInterval", None)


def connack(code: int, session_present: bool = False, properties: Properties | None = None) -> bytes:
    packed = properties.pack() if properties else b"\0"  # type: ignore[no-untyped-call]
    return packet(CONNACK, bytes([session_present, code]) + packed)


def publish(message: Message, retain: bool, dup: bool, mid: int, now: float) -> bytes:
    """`mid` of zero: QoS 0. The expiry that is sent on is what is left of it."""
    properties = message.extras
    if message.expires_at is not None:
        properties += b"\x02" + max(1, round(message.expires_at - now)).to_bytes(4, "big")
    identifier = mid.to_bytes(2, "big") if mid else b""
    body = b"".join((text(message.topic), identifier, varint(len(properties)), properties, message.payload))
    return packet(PUBLISH | dup << 3 | bool(mid) << 1 | retain, body)


def acknowledged(kind: int, mid: int, code: int = SUCCESS) -> bytes:
    said = bytes([code]) if code else b""
    return bytes([kind, 2 + len(said)]) + mid.to_bytes(2, "big") + said


def granted(kind: int, mid: int, codes: list[int]) -> bytes:
    return packet(kind, mid.to_bytes(2, "big") + b"\0" + bytes(codes))


def disconnect(code: int) -> bytes:
    return bytes([DISCONNECT, 2, code, 0])
