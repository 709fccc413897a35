"""The two packets that make up nearly all of the traffic, as a client reads and writes them: PUBLISH and PUBACK.

paho takes some 50 µs to read or write one of them, as much as a small model: it knows them as objects with locks and
conditions, and asks for a packet in three calls. Everything else that a connection says goes through paho (decision 8).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cascade.adapters.transports.mqtt_packets import varint

PUBLISH, PUBACK = 0x30, 0x40
_RETAIN, _QOS_1 = 0x01, 0x02


class Mangled(Exception):
    """The broker breaks the protocol."""


class Heard(NamedTuple):
    """A message from the broker. It is acknowledged by `ack(mid)`; without that the broker sends it again one day."""

    topic: str
    payload: bytes
    retain: bool
    mid: int


def read_publish(first: int, body: bytes) -> Heard:
    """Its properties are passed over: none of ours needs one, and an alias was not offered. A topic that is no text is
    an empty one."""
    try:
        at = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:at]
        qos, mid = (first >> 1) & 0x03, 0
        if qos:
            mid = int.from_bytes(body[at : at + 2], "big")
            at += 2
        at = _after_properties(body, at)
    except IndexError:
        raise Mangled("a PUBLISH that ends too early") from None
    if at > len(body) or qos > 1 or (qos and not mid):
        raise Mangled("a PUBLISH that can't be")
    return Heard(_text(topic), body[at:], bool(first & _RETAIN), mid)


@lru_cache(maxsize=4096)
def _text(topic: bytes) -> str:
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return ""


def _after_properties(body: bytes, at: int) -> int:
    length = shift = 0
    while True:
        digit = body[at]
        at += 1
        length |= (digit & 0x7F) << shift
        if digit < 0x80:
            return at + length
        shift += 7
        if shift > 21:
            raise Mangled("a length of more than four bytes")


def read_puback(body: bytes) -> tuple[int, int]:
    """The packet's identifier and the reason code."""
    if len(body) < 2:
        raise Mangled("a PUBACK that ends too early")
    return int.from_bytes(body[:2], "big"), body[2] if len(body) > 2 else 0


def publish_head(topic: str, payload_bytes: int, mid: int, retain: bool, expiry_s: int) -> bytes:
    """All of a PUBLISH with QoS 1 but its payload. An expiry of 0 is none."""
    name, properties = _packed_text(topic), _packed_expiry(expiry_s)
    size = len(name) + 2 + len(properties) + payload_bytes
    first = PUBLISH | _QOS_1 | (_RETAIN if retain else 0)
    return b"".join((bytes((first,)), varint(size), name, mid.to_bytes(2, "big"), properties))


def puback(mid: int) -> bytes:
    return bytes((PUBACK, 2)) + mid.to_bytes(2, "big")


@lru_cache(maxsize=4096)
def _packed_text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


@lru_cache(maxsize=256)
def _packed_expiry(expiry_s: int) -> bytes:
    return b"\x05\x02" + expiry_s.to_bytes(4, "big") if expiry_s else b"\0"
