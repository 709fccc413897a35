"""The two packets that go past paho: what a server reads of ours, and what we read of a server's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cascade.adapters.transports import mqtt_messages as ours
from cascade.adapters.transports import mqtt_packets as server

topics = st.text(st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1, max_size=300)
mids = st.integers(1, 65535)


def body_of(packet: bytes) -> bytes:
    head = server.head_of(packet, 0)
    assert head is not None
    begin, length = head
    assert begin + length == len(packet)
    return packet[begin:]


@given(topics, st.binary(max_size=500), mids, st.booleans(), st.integers(0, 2**31))
def test_a_server_reads_what_we_publish(topic: str, payload: bytes, mid: int, retain: bool, expiry_s: int) -> None:
    packet = ours.publish_head(topic, len(payload), mid, retain, expiry_s) + payload
    read = server.read_publish(packet[0], body_of(packet))
    assert (read.message.topic, read.message.payload, read.message.qos) == (topic, payload, 1)
    assert (read.mid, read.message.retain, read.expiry_s) == (mid, retain, expiry_s or None)


@given(topics, st.binary(max_size=500), st.integers(0, 65535), st.booleans())
def test_we_read_what_a_server_publishes(topic: str, payload: bytes, mid: int, retain: bool) -> None:
    message = server.Message(topic, payload, 1, retain)
    packet = server.publish(message, retain, dup=False, mid=mid, now=0.0)
    assert ours.read_publish(packet[0], body_of(packet)) == ours.Heard(topic, payload, retain, mid)


def test_properties_that_others_attach_are_passed_over() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("traceparent", "00-" + "a" * 200)
    properties.ContentType = "application/x-protobuf"
    body = b"\0\1t" + (7).to_bytes(2, "big") + properties.pack() + b"payload"
    assert ours.read_publish(0x32, body) == ours.Heard("t", b"payload", False, 7)


def test_a_topic_that_is_no_text_is_an_empty_one() -> None:
    assert ours.read_publish(0x30, b"\0\2\xff\xfe\0payload").topic == ""


@given(st.binary(max_size=60), st.integers(0x30, 0x3F))
def test_rubbish_is_read_or_said_to_be_mangled(body: bytes, first: int) -> None:
    try:
        heard = ours.read_publish(first, body)
    except ours.Mangled:
        return
    assert body.endswith(heard.payload)


@pytest.mark.parametrize("body", [b"", b"\1"])
def test_an_acknowledgement_without_an_identifier_is_mangled(body: bytes) -> None:
    with pytest.raises(ours.Mangled):
        ours.read_puback(body)


@given(mids, st.sampled_from([0x00, 0x10, 0x87, 0x95]))
def test_acknowledgements_are_read_with_their_reason(mid: int, code: int) -> None:
    packet = server.acknowledged(server.PUBACK, mid, code)
    assert ours.read_puback(body_of(packet)) == (mid, code)


@given(mids)
def test_an_acknowledgement_of_ours_is_a_servers(mid: int) -> None:
    assert ours.puback(mid) == server.acknowledged(server.PUBACK, mid)
