"""The embedded broker among rude guests. What it owes to polite ones is in `tests/contracts/test_brokers.py`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_rights import Rights, User, gateway_of
from cascade.adapters.transports.broker_routes import BadFilter, Routes, matches, split_filter
from cascade.adapters.transports.broker_session import Bounds
from cascade.adapters.transports.embedded_broker import EmbeddedBroker
from cascade.adapters.transports.mqtt_packets import Malformed
from cascade.errors import LinkError

LEVEL = st.sampled_from(["a", "b", "c", "$x", ""])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.lists(LEVEL | st.just("+"), min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"]), "#"])
)


def connect_packet(client_id: str, expiry_s: int = 0, receive_maximum: int = 65535, keepalive_s: int = 60) -> bytes:
    properties = b"\x11" + expiry_s.to_bytes(4, "big") + b"\x21" + receive_maximum.to_bytes(2, "big")
    body = packets.text("MQTT") + b"\x05\x02" + keepalive_s.to_bytes(2, "big")
    return packets.packet(packets.CONNECT, body + bytes([len(properties)]) + properties + packets.text(client_id))


def publish_packet(topic: str, payload: bytes = b"x", mid: int = 1) -> bytes:
    body = packets.text(topic) + (mid.to_bytes(2, "big") if mid else b"") + b"\0" + payload
    return packets.packet(packets.PUBLISH | bool(mid) << 1, body)


def subscribe_packet(name: str, mid: int = 1, qos: int = 1) -> bytes:
    return packets.packet(packets.SUBSCRIBE | 2, mid.to_bytes(2, "big") + b"\0" + packets.text(name) + bytes([qos]))


class Guest:
    """A socket that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def hear(self) -> bytes:
        """The next packet; nothing where the broker hung up."""
        async with asyncio.timeout(5.0):
            try:
                head = await self.reader.readexactly(2)
                return head + await self.reader.readexactly(head[1])
            except (asyncio.IncompleteReadError, ConnectionError):
                return b""

    async def join(self, client_id: str = "guest", **more: int) -> Guest:
        self.say(connect_packet(client_id, **more))
        assert (await self.hear())[3] == packets.SUCCESS
        return self

    async def is_sent_away_with(self, code: int) -> bool:
        """By DISCONNECT or CONNACK, then by a closed door."""
        said = await self.hear()
        return code in said[2:4] and await self.hear() == b""


Enter = Callable[[EmbeddedBroker], Any]


@pytest.fixture
async def enter() -> AsyncIterator[Enter]:
    guests: list[Guest] = []

    async def new(broker: EmbeddedBroker) -> Guest:
        guests.append(Guest(*await asyncio.open_connection("127.0.0.1", broker.port)))
        return guests[-1]

    yield new
    for guest in guests:
        guest.writer.close()


@contextlib.asynccontextmanager
async def running(bounds: Bounds | None = None) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(bounds=bounds)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (packets.packet(packets.PINGREQ, b""), packets.PROTOCOL_ERROR),
        (packets.packet(packets.CONNECT, packets.text("MQTT") + b"\x04\x02\x00\x3c\x00\x00"), packets.OTHER_VERSION),
        (packets.packet(packets.CONNECT, packets.text("MQTT")), packets.MALFORMED),
        (b"\x10\xff\xff\xff\xff", packets.MALFORMED),
        (b"\x10\xff\xff\xff\x7f", packets.TOO_LARGE),
        (b"GET / HTTP/1.1\r\n\r\n", packets.PROTOCOL_ERROR),
        (connect_packet("x" * 300), packets.BAD_CLIENT_ID),
    ],
)
async def test_a_stranger_who_does_not_speak_mqtt_5_is_sent_away(
    broker: EmbeddedBroker, enter: Enter, said: bytes, code: int
) -> None:
    guest = await enter(broker)
    guest.say(said)
    assert await guest.is_sent_away_with(code)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (connect_packet("again"), packets.PROTOCOL_ERROR),
        (publish_packet("a/+"), packets.TOPIC_INVALID),
        (publish_packet(""), packets.TOPIC_INVALID),
        (publish_packet("a", mid=0).replace(b"\x30", b"\x34", 1), packets.QOS_UNSUPPORTED),
        (
            packets.packet(packets.PUBLISH | 2, packets.text("a") + b"\0\1" + b"\x03\x23\x00\x01"),
            packets.TOPIC_ALIAS_INVALID,
        ),
        (packets.packet(packets.PUBLISH | 2, packets.text("a") + b"\0\1" + b"\x7f"), packets.MALFORMED),
        (packets.packet(packets.PUBLISH, b"\0\2\xff\xff\0"), packets.MALFORMED),
        (packets.packet(packets.SUBSCRIBE | 2, b"\0\1\0"), packets.PROTOCOL_ERROR),
        (packets.packet(packets.SUBSCRIBE | 2, b"\0\1\0" + packets.text("a")), packets.MALFORMED),
        (packets.packet(0xF0, b""), packets.PROTOCOL_ERROR),
    ],
)
async def test_a_guest_who_breaks_the_protocol_is_sent_away_with_the_reason(
    broker: EmbeddedBroker, enter: Enter, said: bytes, code: int
) -> None:
    guest = await (await enter(broker)).join()
    guest.say(said)
    assert await guest.is_sent_away_with(code)


@pytest.mark.parametrize("name", ["", "a/#/b", "a+/b", "$share/g", "$share//a", "$share/+/a", "x" * 2000])
async def test_a_filter_that_is_none_is_refused(broker: EmbeddedBroker, enter: Enter, name: str) -> None:
    guest = await (await enter(broker)).join()
    guest.say(subscribe_packet(name))
    assert (await guest.hear())[-1] == packets.FILTER_INVALID


async def test_packets_may_come_in_crumbs(broker: EmbeddedBroker, enter: Enter) -> None:
    guest = await enter(broker)
    for byte in connect_packet("slow") + subscribe_packet("a/b") + publish_packet("a/b", b"hello"):
        guest.say(bytes([byte]))
        await asyncio.sleep(0)
    assert [(await guest.hear())[0] & 0xF0 for _ in range(3)] == [packets.CONNACK, packets.SUBACK, packets.PUBLISH]


async def test_there_is_room_for_so_many_clients(enter: Enter) -> None:
    async with running(Bounds(clients=2)) as broker:
        for name in ("one", "two"):
            await (await enter(broker)).join(name)
        guest = await enter(broker)
        guest.say(connect_packet("three"))
        assert await guest.is_sent_away_with(packets.SERVER_BUSY)


async def test_a_client_may_make_so_many_subscriptions(enter: Enter) -> None:
    async with running(Bounds(subscriptions=2)) as broker:
        guest = await (await enter(broker)).join()
        codes = []
        for number in range(3):
            guest.say(subscribe_packet(f"a/{number}"))
            codes.append((await guest.hear())[-1])
    assert codes == [1, 1, packets.QUOTA]


async def test_a_client_that_says_nothing_is_shown_out(enter: Enter) -> None:
    async with running(Bounds(connect_timeout_s=0.1)) as broker:
        assert await (await enter(broker)).hear() == b""


async def test_a_client_that_never_reads_costs_a_bounded_amount_and_only_itself(enter: Enter) -> None:
    async with running(Bounds(queued_messages=50, queued_bytes=2**20)) as broker:
        deaf = await (await enter(broker)).join("deaf")
        deaf.say(subscribe_packet("a/#"))
        await deaf.hear()
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        polite = await (await enter(broker)).join("polite")
        for number in range(400):
            polite.say(publish_packet("a/b", bytes(60_000), mid=number + 1))
            assert (await polite.hear())[0] == packets.PUBACK
        session = broker._sessions["deaf"]
    assert session.dropped > 200
    assert len(session._queue) <= 50


async def test_a_topic_s_retained_message_is_refused_when_there_is_no_room(enter: Enter) -> None:
    async with running(Bounds(retained_messages=1)) as broker:
        guest = await (await enter(broker)).join()
        codes = []
        for number in range(2):
            retained = bytearray(publish_packet(f"a/{number}"))
            retained[0] |= 1
            guest.say(bytes(retained))
            codes.append((await guest.hear())[-1])
    assert codes[1] == packets.QUOTA


async def test_a_frozen_broker_says_nothing_and_a_thawed_one_goes_on(broker: EmbeddedBroker, enter: Enter) -> None:
    guest = await (await enter(broker)).join()
    broker.freeze()
    guest.say(publish_packet("a/b"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guest.hear(), 0.2)
    broker.thaw()
    assert (await guest.hear())[0] == packets.PUBACK


async def test_a_port_that_is_taken_is_said_plainly(broker: EmbeddedBroker) -> None:
    with pytest.raises(LinkError, match=str(broker.port)):
        await EmbeddedBroker(port=broker.port).start()


async def test_it_starts_again_on_its_port_with_nothing_in_mind(broker: EmbeddedBroker, enter: Enter) -> None:
    port = broker.port
    guest = await (await enter(broker)).join(expiry_s=60)
    guest.say(subscribe_packet("a/#"))
    await guest.hear()
    await broker.stop()
    await broker.start()
    assert broker.port == port
    speaker = await (await enter(broker)).join("speaker")
    speaker.say(publish_packet("a/b"))
    assert (await speaker.hear())[-1] == packets.NO_SUBSCRIBERS


async def test_a_will_waits_for_its_delay_and_is_taken_back_by_a_return(
    place: Any, broker: EmbeddedBroker, enter: Enter
) -> None:
    hearer = await (await enter(broker)).join("hearer")
    hearer.say(subscribe_packet("will/#"))
    await hearer.hear()
    for name, returns in (("back", True), ("away", False)):
        body = packets.text("MQTT") + b"\x05\x0c\x00\x3c" + b"\x05\x11\x00\x00\x00\x3c" + packets.text(name)
        body += b"\x05\x18\x00\x00\x00\x01" + packets.text("will/" + name) + packets.text("gone")
        mortal = await enter(broker)
        mortal.say(packets.packet(packets.CONNECT, body))
        await mortal.hear()
        mortal.writer.transport.abort()
        await place.until(lambda name=name: broker._sessions[name].wire is None)
        if returns:
            again = await enter(broker)
            again.say(packets.packet(packets.CONNECT, body))
            await again.hear()
    assert b"will/away" in await hearer.hear()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.booleans())
async def test_no_bytes_disturb_the_others(broker: EmbeddedBroker, rubbish: bytes, joined: bool) -> None:
    guest = Guest(*await asyncio.open_connection("127.0.0.1", broker.port))
    if joined:
        await guest.join("rude")
    guest.say(rubbish)
    polite = await Guest(*await asyncio.open_connection("127.0.0.1", broker.port)).join("polite")
    polite.say(packets.packet(packets.PINGREQ, b""))
    assert (await polite.hear())[0] == packets.PINGRESP
    guest.writer.close()
    polite.writer.close()


READERS: list[Callable[[bytes], Any]] = [
    packets.read_connect,
    packets.read_subscribe,
    packets.read_unsubscribe,
    packets.read_disconnect,
    lambda body: packets.read_publish(0x32, body),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(READERS), st.binary(max_size=80))
def test_a_packet_is_read_or_malformed_and_nothing_else(read: Callable[[bytes], Any], body: bytes) -> None:
    with contextlib.suppress(Malformed):
        read(body)


@settings(max_examples=300, deadline=None)
@given(st.lists(FILTER, max_size=6, unique=True), TOPIC)
def test_the_tree_of_filters_finds_what_looking_at_each_finds(filters: list[str], topic: str) -> None:
    routes: Routes[str] = Routes()
    wanted = set()
    for name in filters:
        with contextlib.suppress(BadFilter):
            split_filter(name)
            routes.add(name, name, name)
            wanted.add(name)
    found = routes.reached(topic)[0]
    assert sorted(found) == sorted(name for name in wanted if matches(name, topic))
    for name in wanted:
        routes.remove(name, name)
    assert routes.reached(topic) == ([], [])
    assert routes._root.empty


def test_a_device_writes_up_and_reads_down_under_its_own_name_only() -> None:
    rights = Rights({"barn.cam1": User("x"), "gw": gateway_of("barn", "y")})
    assert rights.may_write("barn.cam1", "cascade/v1/barn/barn.cam1/up/ask")
    assert not rights.may_write("barn.cam1", "cascade/v1/barn/barn.cam1/down/answer")
    assert not rights.may_write("barn.cam1", "cascade/v1/barn/barn.cam2/up/ask")
    assert rights.may_read("barn.cam1", "cascade/v1/barn/barn.cam1/down/answer")
    assert not rights.may_read("barn.cam1", "cascade/v1/barn/barn.cam1/up/ask")
    assert rights.may_read("gw", "cascade/v1/barn/barn.cam2/up/ask")
    assert not rights.may_read("gw", "cascade/v1/yard/yard.cam2/up/ask")
    assert not rights.may_write("stranger", "cascade/v1/barn/stranger/up/ask")


@pytest.mark.parametrize("name", ["+", "#", "barn/#", ""])
def test_a_name_is_never_a_pattern(name: str) -> None:
    rights = Rights({name: User("x")})
    assert not rights.may_write(name, "cascade/v1/barn/barn.cam1/up/ask")


@pytest.mark.needs_services
async def test_it_runs_on_its_own() -> None:
    command = [sys.executable, "-m", "cascade.adapters.transports.embedded_broker", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        line = await asyncio.wait_for(process.stderr.readline(), 20.0)
        assert b"for demos and tests" in line
        port = int(line.split(b":")[1].split(b",")[0])
        await Guest(*await asyncio.open_connection("127.0.0.1", port)).join()
    finally:
        process.terminate()
        await process.wait()
