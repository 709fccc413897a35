"""The device's end: when there is a link, what is asked over it, and what a bad broker or a bad answer does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_session import Bounds
from cascade.adapters.transports.mqtt_above import FULL
from cascade.adapters.transports.mqtt_packets import Publish
from cascade.inference.events import Answered, Asked, LinkLost, LinkUp, PeerFaulted, Received, Sent, Unsendable
from cascade.wire.codec import encode_answers
from cascade.wire.retained import decode_presence
from cascade.wire.topics import answer_topic, answers_topic, ask_topic, metrics_topic, presence_topic

DEVICE = "barn.cam1"


def asks_of(broker: Any) -> list[Publish]:
    """The messages with questions in them: a probe has none, and is short."""
    return [one for one in broker.published if one.message.topic == ask_topic(DEVICE) and len(one.message.payload) > 20]


async def linked(place: Any, ear: Any, below_ear: Any = None, **settings: Any) -> Any:
    """A device with a link to a gateway that says nothing."""
    await place.below().open(below_ear or (lambda event: None))
    above = place.above(DEVICE, **settings)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    return above


def told(code: int) -> Callable[[Any, Publish], bool]:
    """A broker that acknowledges questions with this code."""

    def instead(wire: Any, publish: Publish) -> bool:
        if publish.message.topic != ask_topic(DEVICE):
            return False
        wire.send(packets.acknowledged(packets.PUBACK, publish.mid, code))
        return True

    return instead


async def test_without_a_gateway_there_is_no_link(place: Any, ear: Any) -> None:
    above = place.above(DEVICE)
    await above.open(ear)
    (lost,) = await ear.wait_for(LinkLost)
    assert lost.reason == above.trouble == "no gateway listens"
    await place.below().open(lambda event: None)
    await ear.wait_for(LinkUp)
    assert above.trouble == ""


async def test_a_gateway_that_leaves_is_missed_at_the_first_question(place: Any, ear: Any, words: Any) -> None:
    gateway = place.below()
    await gateway.open(lambda event: None)
    above = place.above(DEVICE)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    lost_before = len(ear.all(LinkLost))
    await gateway.close()
    above.ask(words.questions())
    assert (await ear.wait_for(LinkLost, lost_before + 1))[-1].reason == "no gateway listens"
    await place.below("gw2").open(lambda event: None)
    await ear.wait_for(LinkUp, 2)


async def test_a_broker_that_is_not_there_is_told_once_and_waited_for(
    ear: Any, new_place: Any, new_broker: Any
) -> None:
    broker = new_broker()
    await broker.start()
    await broker.stop()
    place = new_place(broker.port)
    above = place.above(DEVICE)
    await above.open(ear)
    (lost,) = await ear.wait_for(LinkLost)
    assert "refused" in lost.reason
    await broker.start()
    await place.below().open(lambda event: None)
    await ear.wait_for(LinkUp)
    assert len(ear.all(LinkLost)) == 1
    await place.close()
    await broker.stop()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (packets.NOT_AUTHORIZED, "the broker does not let this device ask"),
        (packets.QUOTA, "the broker has no room"),
        (0x83, "the broker refuses questions (0x83)"),
    ],
)
async def test_questions_that_the_broker_refuses_lose_the_link_until_it_takes_them(
    place: Any, broker: Any, ear: Any, words: Any, code: int, reason: str
) -> None:
    above = await linked(place, ear)
    lost_before, ups_before = len(ear.all(LinkLost)), len(ear.all(LinkUp))
    broker.instead = told(code)
    above.ask(words.questions())
    assert (await ear.wait_for(LinkLost, lost_before + 1))[-1].reason == reason
    broker.instead = None
    await ear.wait_for(LinkUp, ups_before + 1)


async def test_a_broker_that_takes_no_more_loses_the_link_until_it_has_caught_up(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    above = await linked(place, ear, max_queued=4, dead_after_s=5.0)
    lost_before, ups_before = len(ear.all(LinkLost)), len(ear.all(LinkUp))
    kept: list[tuple[Any, Publish]] = []

    def keep(wire: Any, publish: Publish) -> bool:
        kept.append((wire, publish))
        return True

    broker.instead = keep
    for number in range(6):
        above.ask(words.questions(first=number))
    assert (await ear.wait_for(LinkLost, lost_before + 1))[-1].reason == FULL
    assert len([event for event in ear.all(Sent) if event.questions]) == 4
    await place.until(lambda: len(kept) == 4)
    for wire, publish in kept:
        wire.send(packets.acknowledged(packets.PUBACK, publish.mid))
    broker.instead = None
    await ear.wait_for(LinkUp, ups_before + 1)


async def test_a_question_expires_at_the_broker_when_nobody_wants_its_answer_any_more(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    above = await linked(place, ear)
    above.ask([*words.questions(ms_left=100.0), *words.questions(first=1, ms_left=1500.0, keep_ms=2600.0)])
    above.ask(words.questions(first=2, ms_left=20.0))
    await place.until(lambda: len(asks_of(broker)) == 2)
    assert [publish.expiry_s for publish in asks_of(broker)] == [5, 1]
    assert not any(publish.message.retain for publish in asks_of(broker))


async def test_the_broker_s_largest_packet_is_respected(ear: Any, words: Any, new_place: Any, new_broker: Any) -> None:
    broker = new_broker(bounds=Bounds(packet_bytes=4000))
    await broker.start()
    place = new_place(broker.port)
    gateway_ear = type(ear)()
    above = await linked(place, ear, gateway_ear)
    large, small = words.questions(size=5000), words.questions(20, first=1, size=600)
    above.ask([*large, *small])
    assert [event.key for event in await ear.wait_for(Unsendable)] == [large[0].key]
    await gateway_ear.wait_for(Asked, 20)
    assert max(event.bytes for event in ear.all(Sent)) <= 4000
    await place.close()
    await broker.stop()


async def test_a_question_on_which_the_broker_hangs_up_three_times_is_not_sent_again(
    place: Any, broker: Any, ear: Any, words: Any, new_ear: Any
) -> None:
    """Beside it others travel, in the same pack: they must get through, and only it is given up."""
    gateway_ear = new_ear()
    above = await linked(place, ear, gateway_ear)
    poison = words.questions(first=3, device=DEVICE, stream="poison")[0]
    asked = [*words.questions(3), poison, *words.questions(3, first=4)]
    broker.instead = lambda wire, publish: b"poison" in publish.message.payload and wire.abort() is None
    open_ones = {question.key for question in asked}
    while poison.key in open_ones:
        ups = len(ear.all(LinkUp))
        above.ask([question for question in asked if question.key in open_ones])
        await place.until(lambda ups=ups: len(ear.all(LinkUp)) > ups or ear.all(Unsendable))
        open_ones -= {event.question.key for event in gateway_ear.all(Asked)}
        open_ones -= {event.key for event in ear.all(Unsendable)}
    await ear.wait_for(LinkUp, len(ear.all(LinkUp)))
    assert [event.key for event in ear.all(Unsendable)] == [poison.key]
    assert len(ear.all(LinkLost)) <= 4
    while open_ones:
        ups = len(ear.all(LinkUp))
        above.ask([question for question in asked if question.key in open_ones])
        await asyncio.sleep(0.02)
        open_ones -= {event.question.key for event in gateway_ear.all(Asked)}
    assert {event.question.key for event in gateway_ear.all(Asked)} == {one.key for one in asked} - {poison.key}


async def test_up_and_lost_alternate_whatever_happens(place: Any, broker: Any, ear: Any, words: Any) -> None:
    above = await linked(place, ear)
    for code in (packets.QUOTA, packets.NO_SUBSCRIBERS, packets.NOT_AUTHORIZED):
        lost, ups = len(ear.all(LinkLost)), len(ear.all(LinkUp))
        broker.instead = told(code)
        above.ask(words.questions(3))
        await ear.wait_for(LinkLost, lost + 1)
        broker.wire_of(DEVICE).abort()
        broker.instead = None
        await ear.wait_for(LinkUp, ups + 1)
    states = [type(event) for event in ear.events if isinstance(event, LinkUp | LinkLost)]
    assert all(one is not other for one, other in pairwise(states))


async def test_presence_is_retained_and_gone_when_the_device_dies(place: Any, broker: Any, ear: Any) -> None:
    await linked(place, ear)
    published = [one for one in broker.published if one.message.topic == presence_topic(DEVICE)]
    assert decode_presence(published[-1].message.payload).online
    assert published[-1].message.retain
    seen: list[tuple[str, bool, bool]] = []
    watcher = place.below("gw2", {"on_presence": lambda *what: seen.append(what)})
    await watcher.open(lambda event: None)
    watcher.set_desk(True)
    await place.until(lambda: (DEVICE, True, True) in seen)
    broker.wire_of(DEVICE).abort()
    await place.until(lambda: (DEVICE, False, False) in seen)


async def test_a_device_that_closes_says_so_itself(place: Any, broker: Any, ear: Any) -> None:
    above = await linked(place, ear)
    await above.close()
    published = [one for one in broker.published if one.message.topic == presence_topic(DEVICE)]
    assert not decode_presence(published[-1].message.payload).online


async def test_an_answer_for_another_device_is_a_fault(place: Any, broker: Any, ear: Any, words: Any) -> None:
    await linked(place, ear)
    (foreign,) = words.questions(device="barn.cam2")
    _say(broker, answer_topic(DEVICE), encode_answers([words.answer(foreign), words.answer(words.questions()[0])]))
    (answered,) = await ear.wait_for(Answered)
    assert answered.answer.device == DEVICE
    assert [fault.kind for fault in ear.all(PeerFaulted)] == ["identity"]


async def test_a_retained_answer_is_never_acted_on(place: Any, broker: Any, ear: Any, words: Any) -> None:
    old = encode_answers([words.answer(words.questions()[0])])
    broker._deliveries.spread(packets.Message(answer_topic(DEVICE), old, 1, True), None, None)
    await linked(place, ear)
    (fault,) = await ear.wait_for(PeerFaulted)
    assert (fault.peer, fault.kind) == ("above", "protocol")
    assert not ear.all(Answered)


@pytest.mark.parametrize("payload", [b"", b"\xff\xff", b"\x08\x63", bytes(5000)])
async def test_an_answer_that_nobody_can_read_is_a_fault_and_comes_once(
    place: Any, broker: Any, ear: Any, payload: bytes
) -> None:
    await linked(place, ear)
    _say(broker, answer_topic(DEVICE), payload)
    await ear.wait_for(PeerFaulted)
    await place.until(lambda: not broker._sessions[DEVICE]._in_flight)
    broker.wire_of(DEVICE).abort()
    await ear.wait_for(LinkUp, 2)
    assert len(ear.all(PeerFaulted)) == 1


async def test_what_is_not_an_answer_goes_to_whoever_asked_for_it(place: Any, broker: Any, ear: Any) -> None:
    above = await linked(place, ear)
    heard: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue()
    above._on_other = lambda *what: heard.put_nowait(what)
    _say(broker, f"cascade/v1/barn/{DEVICE}/down/update/assignment", b"signed")
    assert await asyncio.wait_for(heard.get(), 5.0) == ("update/assignment", b"signed", False)


async def test_metrics_and_answers_for_applications_are_published(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    above = await linked(place, ear)
    assert above.publish_metrics(b"numbers")
    assert above.publish_answers([words.answer(question) for question in words.questions(3)])
    topics = {metrics_topic(DEVICE), answers_topic(DEVICE)}
    await place.until(lambda: topics <= {one.message.topic for one in broker.published})


async def test_nothing_is_published_without_a_broker(place: Any) -> None:
    assert not place.above(DEVICE).publish_metrics(b"numbers")


async def test_answers_that_waited_for_the_device_arrive_when_it_is_back(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    await linked(place, ear, backoff_first_s=0.2)
    broker.wire_of(DEVICE).abort()
    await ear.wait_for(LinkLost, len(ear.all(LinkUp)))
    _say(broker, answer_topic(DEVICE), encode_answers([words.answer(words.questions()[0])]))
    await ear.wait_for(Answered)


async def test_every_message_of_the_broker_is_told_with_its_bytes(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    await linked(place, ear)
    payload = encode_answers([words.answer(words.questions()[0])])
    _say(broker, answer_topic(DEVICE), payload)
    (received,) = await ear.wait_for(Received)
    assert received.bytes >= len(payload)


def _say(broker: Any, topic: str, payload: bytes) -> None:
    """As a gateway, or whoever has the right to."""
    broker._deliveries.spread(packets.Message(topic, payload, 1, False), None, None)
