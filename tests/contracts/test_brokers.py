"""What a broker must do for this runtime: the same probes, asked of the embedded one and of mosquitto.

Where mosquitto 2.0.11 does less than MQTT 5 recommends, the probe says what it does instead, so that nothing relies on
more: `Broker.is_mosquitto` marks the three places.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from cascade.adapters.transports.broker_rights import User, gateway_of
from cascade.adapters.transports.broker_session import Bounds
from cascade.adapters.transports.embedded_broker import EmbeddedBroker

PATIENCE_S = 5.0
QUIET_S = 0.15
LARGEST = 20_000

USERS = {"barn.cam1": "one", "barn.cam2": "two", "gateway": "three"}
RULES = [
    "user gateway",
    "topic read cascade/v1/barn/+/up/#",
    "topic write cascade/v1/barn/+/down/#",
    "pattern write cascade/v1/+/%u/up/#",
    "pattern read cascade/v1/+/%u/down/#",
]


class Got(NamedTuple):
    topic: str
    payload: bytes
    retain: bool
    mid: int
    properties: Any


class Probe:
    """A paho client on its own thread; what it hears is read from queues."""

    def __init__(
        self, port: int, client_id: str, *, user: tuple[str, str] | None = None, manual_ack: bool = False
    ) -> None:
        self.port, self.loop = port, asyncio.get_running_loop()
        self.messages: asyncio.Queue[Got] = asyncio.Queue()
        self.facts: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=manual_ack,
        )
        if user:
            self.client.username_pw_set(*user)
        self.client.on_connect = lambda c, u, flags, code, p: self._fact("connected", (code.value, flags, p))
        self.client.on_disconnect = lambda c, u, flags, code, p: self._fact("disconnected", code.value)
        self.client.on_publish = lambda c, u, mid, code, p: self._fact("published", code.value)
        self.client.on_subscribe = lambda c, u, mid, codes, p: self._fact("subscribed", [code.value for code in codes])
        self.client.on_message = lambda c, u, m: self._put(
            self.messages, Got(m.topic, bytes(m.payload), m.retain, m.mid, m.properties)
        )

    def _fact(self, name: str, value: Any) -> None:
        self._put(self.facts, (name, value))

    def _put(self, queue: asyncio.Queue[Any], item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the test is over
            self.loop.call_soon_threadsafe(queue.put_nowait, item)

    async def fact(self, name: str) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found, value = await self.facts.get()
                if found == name:
                    return value

    async def connect(self, *, clean: bool = True, keepalive_s: int = 30, **properties: int) -> Any:
        """The code, the flags and the properties of CONNACK."""
        wanted = _properties(PacketTypes.CONNECT, properties)
        await asyncio.to_thread(
            self.client.connect, "127.0.0.1", self.port, keepalive_s, clean_start=clean, properties=wanted
        )
        self.client.loop_start()
        return await self.fact("connected")

    async def subscribe(self, name: str, qos: int = 1, **options: Any) -> list[int]:
        self.client.subscribe(name, options=SubscribeOptions(qos=qos, **options))
        codes: list[int] = await self.fact("subscribed")
        return codes

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, **properties: int
    ) -> int:
        self.client.publish(topic, payload, qos, retain, _properties(PacketTypes.PUBLISH, properties))
        code: int = await self.fact("published")
        return code

    async def message(self, patience_s: float = PATIENCE_S) -> Got:
        async with asyncio.timeout(patience_s):
            return await self.messages.get()

    async def silent(self) -> bool:
        """True if nothing comes for a while: the one thing that can only be shown by waiting."""
        try:
            async with asyncio.timeout(QUIET_S):
                await self.messages.get()
        except TimeoutError:
            return True
        return False

    def die(self) -> None:
        """Lose the connection without a word."""
        sock = self.client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    async def leave(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


def _properties(kind: int, values: dict[str, int]) -> Properties | None:
    if not values:
        return None
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class Broker:
    """A broker under test, and the probes that were made for it."""

    def __init__(self, port: int, is_mosquitto: bool) -> None:
        self.port, self.is_mosquitto = port, is_mosquitto
        self.probes: list[Probe] = []

    def probe(self, client_id: str, **settings: Any) -> Probe:
        self.probes.append(Probe(self.port, client_id, **settings))
        return self.probes[-1]

    async def joined(self, client_id: str, *, manual_ack: bool = False, **settings: Any) -> Probe:
        probe = self.probe(client_id, manual_ack=manual_ack)
        await probe.connect(**settings)
        return probe

    async def end(self) -> None:
        for probe in self.probes:
            await probe.leave()


BOTH = ["embedded", pytest.param("mosquitto", marks=pytest.mark.needs_services)]


async def _started(name: str, request: pytest.FixtureRequest, users: bool) -> tuple[Broker, EmbeddedBroker | None]:
    if name == "mosquitto":
        make: Callable[..., Any] = request.getfixturevalue("mosquitto")
        rights = {"users": USERS, "acl": RULES} if users else {}
        return Broker(make(lines=[f"max_packet_size {LARGEST}"], **rights).port, True), None
    known = {name: User(password) for name, password in USERS.items()} | {"gateway": gateway_of("barn", "three")}
    embedded = EmbeddedBroker(users=known if users else None, bounds=Bounds(packet_bytes=LARGEST))
    await embedded.start()
    return Broker(embedded.port, False), embedded


@pytest.fixture(params=BOTH)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    """Open to everybody."""
    started, embedded = await _started(request.param, request, users=False)
    yield started
    await started.end()
    if embedded:
        await embedded.stop()


@pytest.fixture(params=BOTH)
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    """With users and rights."""
    started, embedded = await _started(request.param, request, users=True)
    yield started
    await started.end()
    if embedded:
        await embedded.stop()


async def test_a_message_reaches_its_subscriber_and_is_acknowledged(broker: Broker) -> None:
    hearer, speaker = await broker.joined("hearer"), await broker.joined("speaker")
    assert await hearer.subscribe("a/+") == [1]
    assert await speaker.publish("a/b", b"hello") == 0x00
    assert (await hearer.message())[:3] == ("a/b", b"hello", False)


async def test_quality_zero_goes_through(broker: Broker) -> None:
    hearer, speaker = await broker.joined("hearer"), await broker.joined("speaker")
    await hearer.subscribe("a/#")
    await speaker.publish("a/b/c", b"hello", qos=0)
    assert (await hearer.message()).payload == b"hello"


async def test_a_publisher_is_told_that_nobody_listens(broker: Broker) -> None:
    speaker = await broker.joined("speaker")
    assert await speaker.publish("a/b", b"hello") == 0x10


async def test_a_retained_message_waits_for_its_reader(broker: Broker) -> None:
    speaker = await broker.joined("speaker")
    await speaker.publish("a/state", b"on", retain=True)
    hearer = await broker.joined("hearer")
    await hearer.subscribe("a/#")
    assert (await hearer.message())[:3] == ("a/state", b"on", True)


async def test_a_retained_message_is_forgotten_by_an_empty_one(broker: Broker) -> None:
    speaker, hearer = await broker.joined("speaker"), await broker.joined("hearer")
    await speaker.publish("a/state", b"on", retain=True)
    await speaker.publish("a/state", b"", retain=True)
    await hearer.subscribe("a/#")
    assert await hearer.silent()


async def test_subscribing_again_need_not_bring_retained_messages_again(broker: Broker) -> None:
    speaker, hearer = await broker.joined("speaker"), await broker.joined("hearer")
    await speaker.publish("a/state", b"on", retain=True)
    await hearer.subscribe("a/#", retainHandling=2)
    assert await hearer.silent()


async def test_the_will_is_read_when_a_connection_is_lost(broker: Broker) -> None:
    hearer, mortal = await broker.joined("hearer"), broker.probe("mortal")
    await hearer.subscribe("will/#")
    mortal.client.will_set("will/mortal", b"gone", qos=1, retain=True)
    await mortal.connect()
    mortal.die()
    assert (await hearer.message())[:2] == ("will/mortal", b"gone")


async def test_the_will_is_not_read_after_a_goodbye(broker: Broker) -> None:
    hearer, mortal = await broker.joined("hearer"), broker.probe("mortal")
    await hearer.subscribe("will/#")
    mortal.client.will_set("will/mortal", b"gone", qos=1)
    await mortal.connect()
    await mortal.leave()
    assert await hearer.silent()


@pytest.mark.slow
async def test_a_client_that_falls_silent_is_given_up_after_its_keepalive(broker: Broker) -> None:
    hearer, mute = await broker.joined("hearer"), broker.probe("mute")
    await hearer.subscribe("will/#")
    mute.client.will_set("will/mute", b"silent", qos=1)
    mute.client._check_keepalive = lambda: None  # type: ignore[method-assign]
    await mute.connect(keepalive_s=1)
    assert (await hearer.message(patience_s=15.0)).payload == b"silent"  # mosquitto looks every five seconds


async def test_a_shared_subscription_splits_the_messages(broker: Broker) -> None:
    first, second, speaker = [await broker.joined(name) for name in ("first", "second", "speaker")]
    for member in (first, second):
        await member.subscribe("$share/group/a/#")
    for number in range(10):
        await speaker.publish("a/b", bytes([number]))
    got = [[(await member.message()).payload[0] for _ in range(5)] for member in (first, second)]
    assert sorted(got[0] + got[1]) == list(range(10))


async def test_what_a_dead_member_has_not_acknowledged_goes_to_another(broker: Broker) -> None:
    doomed, speaker = await broker.joined("doomed", manual_ack=True), await broker.joined("speaker")
    await doomed.subscribe("$share/group/a/#")
    await speaker.publish("a/b", b"work")
    assert (await doomed.message()).payload == b"work"
    heir = await broker.joined("heir")
    await heir.subscribe("$share/group/a/#")
    doomed.die()
    if (
        broker.is_mosquitto
    ):  # it forgets them, with a member of the group there or not: a device must ask again by itself
        assert await heir.silent()
    else:
        assert (await heir.message()).payload == b"work"


async def test_a_kept_session_delivers_what_came_meanwhile(broker: Broker) -> None:
    sleeper, speaker = await broker.joined("sleeper", SessionExpiryInterval=60), await broker.joined("speaker")
    await sleeper.subscribe("a/#")
    sleeper.die()
    await sleeper.fact("disconnected")
    await speaker.publish("a/b", b"while you slept")
    again = broker.probe("sleeper")
    _, flags, _ = await again.connect(clean=False, SessionExpiryInterval=60)
    assert flags.session_present
    assert (await again.message()).payload == b"while you slept"


@pytest.mark.slow
async def test_an_expired_session_is_forgotten(broker: Broker) -> None:
    sleeper = await broker.joined("sleeper", SessionExpiryInterval=1)
    await sleeper.subscribe("a/#")
    sleeper.die()
    await sleeper.fact("disconnected")
    await asyncio.sleep(2.1)  # of the broker's time, in whole seconds
    again = broker.probe("sleeper")
    assert not (await again.connect(clean=False))[1].session_present


async def test_a_clean_start_forgets_the_session(broker: Broker) -> None:
    sleeper = await broker.joined("sleeper", SessionExpiryInterval=60)
    await sleeper.subscribe("a/#")
    sleeper.die()
    await sleeper.fact("disconnected")
    again = broker.probe("sleeper")
    assert not (await again.connect(clean=True, SessionExpiryInterval=60))[1].session_present


@pytest.mark.slow
async def test_an_expired_message_is_not_delivered(broker: Broker) -> None:
    sleeper, speaker = await broker.joined("sleeper", SessionExpiryInterval=60), await broker.joined("speaker")
    await sleeper.subscribe("a/#")
    sleeper.die()
    await sleeper.fact("disconnected")
    await speaker.publish("a/b", b"old", MessageExpiryInterval=1)
    await speaker.publish("a/b", b"new", MessageExpiryInterval=60)
    await asyncio.sleep(2.1)  # of the broker's time, in whole seconds
    again = broker.probe("sleeper")
    await again.connect(clean=False, SessionExpiryInterval=60)
    got = await again.message()
    assert got.payload == b"new"
    assert got.properties.MessageExpiryInterval <= 59


async def test_no_more_is_sent_than_the_receiver_takes(broker: Broker) -> None:
    hearer, speaker = await broker.joined("hearer", manual_ack=True, ReceiveMaximum=2), await broker.joined("speaker")
    await hearer.subscribe("a/#")
    for number in range(4):
        await speaker.publish("a/b", bytes([number]))
    first = [await hearer.message() for _ in range(2)]
    assert await hearer.silent()
    hearer.client.ack(first[0].mid, 1)
    assert (await hearer.message()).payload == bytes([2])


async def test_what_was_not_acknowledged_comes_again(broker: Broker) -> None:
    hearer, speaker = (
        await broker.joined("hearer", manual_ack=True, SessionExpiryInterval=60),
        await broker.joined("speaker"),
    )
    await hearer.subscribe("a/#")
    await speaker.publish("a/b", b"important")
    await hearer.message()
    hearer.die()
    await hearer.fact("disconnected")
    again = broker.probe("hearer")
    await again.connect(clean=False, SessionExpiryInterval=60)
    assert (await again.message()).payload == b"important"


async def test_a_wrong_password_is_refused(guarded: Broker) -> None:
    code, *_ = await guarded.probe("cam1", user=("barn.cam1", "wrong")).connect()
    assert code == (0x87 if guarded.is_mosquitto else 0x86)


async def test_a_stranger_is_refused(guarded: Broker) -> None:
    code, *_ = await guarded.probe("nobody").connect()
    assert code in (0x86, 0x87)


async def test_a_device_may_not_speak_for_another(guarded: Broker) -> None:
    device = guarded.probe("cam1", user=("barn.cam1", "one"))
    await device.connect()
    assert await device.publish("cascade/v1/barn/barn.cam2/up/ask", b"?") == 0x87
    assert await device.publish("cascade/v1/barn/barn.cam1/up/ask", b"?") == 0x10


async def test_a_device_does_not_hear_what_is_not_for_it(guarded: Broker) -> None:
    device, gateway = guarded.probe("cam1", user=("barn.cam1", "one")), guarded.probe("g", user=("gateway", "three"))
    await device.connect()
    await gateway.connect()
    await device.subscribe("cascade/v1/#")
    await gateway.publish("cascade/v1/barn/barn.cam2/down/answer", b"not yours")
    assert await device.silent()
    await gateway.publish("cascade/v1/barn/barn.cam1/down/answer", b"yours")
    assert (await device.message()).payload == b"yours"


async def test_a_gateway_hears_all_devices_of_its_site(guarded: Broker) -> None:
    device, gateway = guarded.probe("cam1", user=("barn.cam1", "one")), guarded.probe("g", user=("gateway", "three"))
    await device.connect()
    await gateway.connect()
    await gateway.subscribe("$share/gateways/cascade/v1/barn/+/up/ask")
    assert await device.publish("cascade/v1/barn/barn.cam1/up/ask", b"?") == 0x00
    assert (await gateway.message()).payload == b"?"


async def test_a_second_client_of_the_same_name_takes_over(broker: Broker) -> None:
    first = await broker.joined("twin")
    second = broker.probe("twin")
    assert (await second.connect())[0] == 0
    assert await first.fact("disconnected") == (0x80 if broker.is_mosquitto else 0x8E)  # it hangs up without a word


async def test_a_packet_that_is_too_large_ends_the_connection(broker: Broker) -> None:
    speaker = broker.probe("speaker")
    _, _, terms = await speaker.connect()
    assert terms.MaximumPacketSize == LARGEST
    speaker.client.publish("a/b", bytes(LARGEST), 1)
    assert await speaker.fact("disconnected") == 0x95


async def test_what_is_too_large_for_the_receiver_is_not_sent(broker: Broker) -> None:
    hearer, speaker = await broker.joined("hearer", MaximumPacketSize=100), await broker.joined("speaker")
    await hearer.subscribe("a/#")
    await speaker.publish("a/b", bytes(200))
    await speaker.publish("a/b", b"small")
    assert (await hearer.message()).payload == b"small"


async def test_other_properties_pass_through(broker: Broker) -> None:
    hearer, speaker = await broker.joined("hearer"), await broker.joined("speaker")
    await hearer.subscribe("a/#")
    await speaker.publish("a/b", b"x", UserProperty=[("traceparent", "00-1-2-01")])  # type: ignore[arg-type]
    assert (await hearer.message()).properties.UserProperty == [("traceparent", "00-1-2-01")]
