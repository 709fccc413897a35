"""The embedded broker's filters and rights, its late wills, and what tests do to it: freeze, thaw, restart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_rights import Rights, User, gateway_of
from cascade.adapters.transports.broker_routes import BadFilter, Routes, matches, split_filter
from cascade.adapters.transports.embedded_broker import EmbeddedBroker

LEVEL = st.sampled_from(["a", "b", "c", "$x", ""])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.lists(LEVEL | st.just("+"), min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"]), "#"])
)


def connect_packet(client_id: str, expiry_s: int = 0) -> bytes:
    body = packets.text("MQTT") + b"\x05\x02\x00\x3c" + b"\x05\x11" + expiry_s.to_bytes(4, "big")
    return packets.packet(packets.CONNECT, body + packets.text(client_id))


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


async def test_a_frozen_broker_says_nothing_and_a_thawed_one_goes_on(broker: EmbeddedBroker, enter: Enter) -> None:
    guest = await (await enter(broker)).join()
    broker.freeze()
    guest.say(publish_packet("a/b"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guest.hear(), 0.2)
    broker.thaw()
    assert (await guest.hear())[0] == packets.PUBACK


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


@pytest.mark.slow
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
