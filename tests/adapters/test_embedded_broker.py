"""The embedded broker among hostile clients: each loses its own connection, costs only so much, and harms nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_session import Bounds
from cascade.adapters.transports.embedded_broker import MOST_STRANGERS, EmbeddedBroker
from cascade.adapters.transports.mqtt_packets import Message
from cascade.errors import LinkError

PATIENCE_S = 10.0
NOTHING = b"\0"
"""An empty list of properties."""


def connect(client_id: str, *, expiry_s: int = 0, will: tuple[str, bytes] | None = None, user: str = "") -> bytes:
    properties = b"\x11" + expiry_s.to_bytes(4, "big") if expiry_s else b""
    flags = 0x02 | (0x04 if will else 0) | (0x80 if user else 0)
    body = packets.text("MQTT") + bytes((5, flags)) + (60).to_bytes(2, "big") + bytes([len(properties)]) + properties
    body += packets.text(client_id)
    if will:
        body += NOTHING + packets.text(will[0]) + len(will[1]).to_bytes(2, "big") + will[1]
    return packets.packet(packets.CONNECT, body + (packets.text(user) if user else b""))


def subscribe(*filters: str) -> bytes:
    body = (1).to_bytes(2, "big") + NOTHING + b"".join(packets.text(name) + b"\x01" for name in filters)
    return packets.packet(packets.SUBSCRIBE | 2, body)


def publish(topic: str, payload: bytes = b"", qos: int = 1, retain: bool = False) -> bytes:
    return packets.publish(Message(topic, payload, qos, retain), retain, False, 1 if qos else 0, 0.0)


PING = bytes((packets.PINGREQ, 0))


class Client:
    """Bytes out, packets in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def say(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def packet(self) -> tuple[int, bytes]:
        """The first byte and the body of the next packet."""
        async with asyncio.timeout(PATIENCE_S):
            first = (await self._reader.readexactly(1))[0]
            length = shift = 0
            while True:
                (byte,) = await self._reader.readexactly(1)
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    return first, await self._reader.readexactly(length)

    async def expect(self, kind: int) -> bytes:
        """The body of the next packet of this kind."""
        while True:
            first, body = await self.packet()
            if first & 0xF0 == kind:
                return body

    async def hung_up(self) -> list[int]:
        """Until the broker hangs up: the kinds of what it said before."""
        said = []
        try:
            while True:
                said.append((await self.packet())[0] & 0xF0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return said

    async def refused_with(self) -> int:
        """The reason of the DISCONNECT or CONNACK, after which the broker hangs up."""
        reason = -1
        try:
            while True:
                first, body = await self.packet()
                if first & 0xF0 in (packets.DISCONNECT, packets.CONNACK):
                    reason = body[1] if first & 0xF0 == packets.CONNACK else body[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            return reason


Dial = Callable[..., Awaitable[Client]]


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    """With small bounds, so that they are reached at once."""
    made = EmbeddedBroker(
        bounds=Bounds(
            clients=8, subscriptions=4, queued_messages=50, queued_bytes=200_000, packet_bytes=50_000,
            kept_bytes=300_000, retained_messages=5, retained_bytes=100_000, will_bytes=1000,
        )
    )  # fmt: skip
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def dial(broker: EmbeddedBroker) -> AsyncIterator[Dial]:
    """`await dial()` is a bare connection; `await dial("name", …)` one that was let in."""
    made: list[Client] = []

    async def one(client_id: str = "", **how: object) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", broker.port))
        made.append(client)
        if client_id:
            client.say(connect(client_id, **how))  # type: ignore[arg-type]
            assert (await client.expect(packets.CONNACK))[1] == packets.SUCCESS
        return client

    yield one
    for client in made:
        client.writer.close()


@pytest.fixture
async def pair(dial: Dial) -> tuple[Client, Client]:
    """A hearer and a speaker who behave."""
    hearer, speaker = await dial("hearer"), await dial("speaker")
    hearer.say(subscribe("good/#"))
    await hearer.expect(packets.SUBACK)
    return hearer, speaker


async def still_served(pair: tuple[Client, Client]) -> None:
    hearer, speaker = pair
    speaker.say(publish("good/news", b"all well"))
    assert (await speaker.expect(packets.PUBACK)) is not None
    assert (await hearer.expect(packets.PUBLISH)).endswith(b"all well")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\x00" * 100,
        b"\x10\xff\xff\xff\xff\xff",
        b"\x10\x02\x00\x04",
        PING,
        publish("a", b"b"),
    ],
)
async def test_whoever_does_not_begin_with_connect_is_sent_away(
    pair: tuple[Client, Client], dial: Dial, rubbish: bytes
) -> None:
    stranger = await dial()
    stranger.say(rubbish)
    await stranger.hung_up()
    await still_served(pair)


async def test_mqtt_3_is_told_that_5_is_spoken_here(dial: Dial) -> None:
    old = await dial()
    old.say(packets.packet(packets.CONNECT, packets.text("MQTT") + bytes((4, 2)) + b"\0\x3c" + packets.text("old")))
    assert await old.refused_with() == packets.OTHER_VERSION


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (connect("twice"), packets.PROTOCOL_ERROR),
        (bytes((0xF0, 0)), packets.PROTOCOL_ERROR),
        (packets.packet(packets.PUBLISH | 4, packets.text("a") + b"\0\1\0"), packets.QOS_UNSUPPORTED),
        (publish("a/+"), packets.TOPIC_INVALID),
        (packets.packet(packets.PUBLISH | 2, packets.text("a") + b"\0\0\0"), packets.PROTOCOL_ERROR),
        (packets.packet(packets.PUBLISH, packets.text("a") + b"\x03\x23\0\1"), packets.TOPIC_ALIAS_INVALID),
        (packets.packet(packets.PUBLISH, b"\0\2\xff\xfe\0"), packets.MALFORMED),
        (packets.packet(packets.PUBLISH, b"\xff\xffa"), packets.MALFORMED),
        (packets.packet(packets.PUBLISH, packets.text("a") + b"\xff\xff\xff\xff\x7f"), packets.MALFORMED),
        (packets.packet(packets.SUBSCRIBE | 2, b"\0\1\0"), packets.PROTOCOL_ERROR),
        (publish("/" * 64), packets.TOPIC_INVALID),
        (publish("x" * 2000), packets.TOPIC_INVALID),
        (bytes((packets.PUBLISH, 0xFF, 0xFF, 0xFF, 0x7F)), packets.TOO_LARGE),
        (bytes((packets.PUBLISH, 0xFF, 0xFF, 0xFF, 0xFF)), packets.MALFORMED),
    ],
)
async def test_who_breaks_the_protocol_is_told_how_and_sent_away(
    pair: tuple[Client, Client], dial: Dial, said: bytes, reason: int
) -> None:
    hostile = await dial("hostile")
    hostile.say(said)
    assert await hostile.refused_with() == reason
    await still_served(pair)


async def test_a_packet_may_come_byte_by_byte(dial: Dial) -> None:
    slow = await dial()
    for byte in connect("slow") + PING:
        slow.say(bytes([byte]))
        await slow.writer.drain()
        await asyncio.sleep(0)
    assert (await slow.expect(packets.CONNACK))[1] == packets.SUCCESS
    await slow.expect(packets.PINGRESP)


async def test_half_a_packet_delays_nobody_else(pair: tuple[Client, Client], dial: Dial) -> None:
    hostile = await dial("hostile")
    hostile.say(publish("good/news", bytes(40_000))[:20_000])
    await hostile.writer.drain()
    await still_served(pair)


async def test_a_giant_packet_is_refused_by_its_head(broker: EmbeddedBroker, dial: Dial) -> None:
    hostile = await dial("hostile")
    hostile.say(publish("a", bytes(broker.bounds.packet_bytes + 1))[:5])
    assert await hostile.refused_with() == packets.TOO_LARGE


async def test_who_never_says_its_name_is_dropped() -> None:
    broker = EmbeddedBroker(bounds=Bounds(connect_timeout_s=0.1))
    await broker.start()
    stranger = Client(*await asyncio.open_connection("127.0.0.1", broker.port))
    assert await stranger.hung_up() == []
    stranger.writer.close()
    await broker.stop()


async def test_there_are_only_so_many_strangers(broker: EmbeddedBroker, dial: Dial) -> None:
    room = broker.bounds.clients + MOST_STRANGERS
    for _ in range(room):
        await dial()
    one_more = await dial()
    assert await one_more.hung_up() == []


async def test_there_are_only_so_many_clients(broker: EmbeddedBroker, pair: tuple[Client, Client], dial: Dial) -> None:
    for number in range(broker.bounds.clients - 2):
        await dial(f"client {number}")
    one_more = await dial()
    one_more.say(connect("one more"))
    assert await one_more.refused_with() == packets.SERVER_BUSY
    await still_served(pair)


async def test_sessions_of_those_who_left_count_as_clients(broker: EmbeddedBroker, dial: Dial) -> None:
    for number in range(broker.bounds.clients):
        client = await dial(f"client {number}", expiry_s=3600)
        client.say(packets.disconnect(packets.SUCCESS))
        await client.hung_up()
    one_more = await dial()
    one_more.say(connect("one more"))
    assert await one_more.refused_with() == packets.SERVER_BUSY


async def test_a_client_has_only_so_many_subscriptions(dial: Dial) -> None:
    greedy = await dial("greedy")
    greedy.say(subscribe(*(f"a/{number}" for number in range(10))))
    assert list((await greedy.expect(packets.SUBACK))[3:]) == [1] * 4 + [packets.QUOTA] * 6


@pytest.mark.parametrize("name", ["x" * 2000, "/" * 100, "a/#/b", "a+", "$share/group", "$share//a", "$share/+/a", ""])
async def test_a_filter_that_makes_no_sense_is_refused_and_the_client_stays(dial: Dial, name: str) -> None:
    client = await dial("client")
    client.say(subscribe(name), PING)
    assert (await client.expect(packets.SUBACK))[3] == packets.FILTER_INVALID
    await client.expect(packets.PINGRESP)


async def test_a_name_or_will_that_is_too_large_is_refused(dial: Dial) -> None:
    for said in (connect("x" * 300), connect("x", user="x" * 300)):
        stranger = await dial()
        stranger.say(said)
        assert await stranger.refused_with() == packets.BAD_CLIENT_ID
    stranger = await dial()
    stranger.say(connect("x", will=("a", bytes(2000))))
    assert await stranger.refused_with() == packets.QUOTA


async def test_only_so_much_is_retained(dial: Dial) -> None:
    client = await dial("client")
    client.say(*(publish(f"a/{number}", b"state", retain=True) for number in range(7)))
    codes = [await client.expect(packets.PUBACK) for _ in range(7)]
    assert [code[2:] == bytes([packets.QUOTA]) for code in codes] == [False] * 5 + [True] * 2


async def test_who_does_not_read_is_not_read_from_until_it_does(
    broker: EmbeddedBroker, pair: tuple[Client, Client], dial: Dial
) -> None:
    hostile = await dial("hostile")
    (wire,) = [wire for wire in broker._wires if wire.session and wire.session.client_id == "hostile"]
    there = wire._transport
    assert there is not None
    there.set_write_buffer_limits(high=1000)
    there.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    hostile.writer.transport.pause_reading()  # type: ignore[attr-defined]
    pings = 0
    while there.is_reading() and pings < 5_000_000:
        hostile.say(PING * 10_000)
        pings += 10_000
        await asyncio.sleep(0)
    assert not there.is_reading(), "each ping brings a pong that somebody has to keep"
    await still_served(pair)
    hostile.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(pings):
        await hostile.expect(packets.PINGRESP)


async def test_a_slow_reader_loses_its_own_messages_and_costs_a_bounded_amount(
    broker: EmbeddedBroker, pair: tuple[Client, Client], dial: Dial
) -> None:
    slow = await dial("slow")
    slow.say(subscribe("#"))
    await slow.expect(packets.SUBACK)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    _, speaker = pair
    for _ in range(400):
        speaker.say(publish("flood", bytes(40_000), qos=1))
        await speaker.expect(packets.PUBACK)
    session = broker._sessions["slow"]
    assert session.dropped > 100
    assert broker._room.kept_bytes <= broker.bounds.queued_bytes
    await still_served(pair)


async def test_one_who_reads_and_never_acknowledges_costs_a_bounded_amount(
    broker: EmbeddedBroker, pair: tuple[Client, Client], dial: Dial
) -> None:
    mute = await dial("mute")
    mute.say(subscribe("#"))
    await mute.expect(packets.SUBACK)
    for _ in range(100):
        pair[1].say(publish("flood", bytes(10_000)))
        await pair[1].expect(packets.PUBACK)
    assert broker._room.kept_bytes <= broker.bounds.queued_bytes
    assert broker._sessions["mute"].dropped > 50


async def test_all_sessions_together_have_one_bound_and_what_ends_gives_back_its_share(
    broker: EmbeddedBroker, dial: Dial
) -> None:
    for number in range(4):
        sleeper = await dial(f"sleeper {number}", expiry_s=3600)
        sleeper.say(subscribe("#"))
        await sleeper.expect(packets.SUBACK)
        sleeper.say(packets.disconnect(packets.SUCCESS))
        await sleeper.hung_up()
    speaker = await dial("speaker")
    for _ in range(40):
        speaker.say(publish("flood", bytes(10_000)))
        await speaker.expect(packets.PUBACK)
    assert 250_000 < broker._room.kept_bytes <= broker.bounds.kept_bytes
    for number in range(4):
        await dial(f"sleeper {number}")  # starts clean
    assert broker._room.kept_bytes == 0


async def test_what_was_acknowledged_is_not_kept(broker: EmbeddedBroker, pair: tuple[Client, Client]) -> None:
    hearer, speaker = pair
    for _ in range(200):
        speaker.say(publish("good/news", bytes(1000)))
        topic_then_mid = await hearer.expect(packets.PUBLISH)
        hearer.say(packets.acknowledged(packets.PUBACK, int.from_bytes(topic_then_mid[11:13], "big")))
        hearer.say(PING)
        await hearer.expect(packets.PINGRESP)
    assert broker._room.kept_bytes == 0
    assert broker._sessions["hearer"].dropped == 0


async def test_topics_without_end_are_not_all_remembered(broker: EmbeddedBroker, dial: Dial) -> None:
    client = await dial("client")
    for number in range(3000):
        client.say(publish(f"a/{number}", qos=0))
    client.say(PING)
    await client.expect(packets.PINGRESP)
    routes = broker._deliveries._routes
    assert len(routes._remembered) <= routes.MOST_REMEMBERED


async def test_filters_that_are_given_up_leave_nothing_behind(broker: EmbeddedBroker, dial: Dial) -> None:
    client = await dial("client")
    for number in range(50):
        name = f"a/{number}/b/c"
        client.say(subscribe(name))
        await client.expect(packets.SUBACK)
        client.say(packets.packet(packets.UNSUBSCRIBE | 2, b"\0\1\0" + packets.text(name)))
        await client.expect(packets.UNSUBACK)
    assert broker._deliveries._routes._root.empty


async def test_a_port_that_is_taken_is_a_clear_error(broker: EmbeddedBroker) -> None:
    told = rf"no broker on 127\.0\.0\.1:{broker.port}: another program listens there, .*choose another port \(--port\)"
    with pytest.raises(LinkError, match=told):
        await EmbeddedBroker(port=broker.port).start()
