"""The gateway's end: back-pressure, receipts, identity, poison, and the desk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cascade.adapters.transports import mqtt_packets as packets
from cascade.inference.events import Answered, Asked, LinkUp, PeerFaulted, Sent
from cascade.messages import Outcome
from cascade.wire.codec import encode_questions
from cascade.wire.retained import MAX_RETAINED_BYTES, Presence, encode_presence
from cascade.wire.topics import ask_topic, metrics_topic, presence_topic

DEVICE = "barn.cam1"


def said(broker: Any, topic: str, payload: bytes, retain: bool = False) -> None:
    broker._deliveries.spread(packets.Message(topic, payload, 1, retain), None, None)


async def asked_at_once(broker: Any, ear: Any, questions: list[Any]) -> list[Asked]:
    before = len(ear.all(Asked))
    said(broker, ask_topic(DEVICE), encode_questions(questions))
    return (await ear.wait_for(Asked, before + len(questions)))[before:]  # type: ignore[no-any-return]


def in_flight(broker: Any, name: str = "gw1") -> int:
    """Messages that the gateway has not acknowledged."""
    return len(broker._sessions[name]._in_flight)


async def test_a_message_is_acknowledged_when_each_of_its_questions_has_a_reply(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    below = await place.listening(ear)
    events = await asked_at_once(broker, ear, words.questions(3))
    assert below.unread == 3
    for left, event in ((1, events[0]), (1, events[2]), (0, events[1])):
        below.reply(event.back, [words.answer(event.question)])
        await place.until(lambda left=left: in_flight(broker) == left)
    assert below.unread == 0


async def test_a_provisional_reply_is_a_reply(place: Any, broker: Any, ear: Any, words: Any) -> None:
    below = await place.listening(ear)
    (event,) = await asked_at_once(broker, ear, words.questions())
    below.reply(event.back, [words.answer(event.question)])
    below.reply(event.back, [words.answer(event.question)])
    await place.until(lambda: in_flight(broker) == 0)


async def test_one_reply_serves_all_messages_with_the_same_question(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    below = await place.listening(ear)
    for _ in range(3):
        events = await asked_at_once(broker, ear, words.questions())
    assert in_flight(broker) == 3
    below.reply(events[0].back, [words.answer(events[0].question)])
    await place.until(lambda: in_flight(broker) == 0)


async def test_the_broker_gives_no_more_than_is_taken(place: Any, broker: Any, ear: Any, words: Any) -> None:
    below = await place.listening(ear, receive_maximum=2)
    for number in range(4):
        said(broker, ask_topic(DEVICE), encode_questions(words.questions(first=number)))
    first, _ = await ear.wait_for(Asked, 2)
    await asyncio.sleep(0.1)
    assert len(ear.all(Asked)) == 2
    below.reply(first.back, [words.answer(first.question)])
    assert (await ear.wait_for(Asked, 3))[2].question.id == "q2"


async def test_the_answers_of_one_reply_travel_together(place: Any, broker: Any, ear: Any, words: Any) -> None:
    below = await place.listening(ear)
    events = await asked_at_once(broker, ear, words.questions(64))
    below.reply(events[0].back, [words.answer(event.question) for event in events])
    await place.until(lambda: below.unread == 0)
    assert len(ear.all(Sent)) == 1


async def test_a_question_in_another_device_s_name_is_refused_to_who_sent_it(
    place: Any, broker: Any, ear: Any, words: Any, new_ear: Any
) -> None:
    await place.listening(ear)
    victim, liar = new_ear(), new_ear()
    for device, listener in ((DEVICE, liar), ("barn.cam2", victim)):
        await place.above(device).open(listener)
        await listener.wait_for(LinkUp)
    forged = words.questions(device="barn.cam2") + words.questions(first=1)
    said(broker, ask_topic(DEVICE), encode_questions(forged))
    assert [event.question.id for event in await ear.wait_for(Asked)] == ["q1"]
    assert [(fault.peer, fault.kind) for fault in ear.all(PeerFaulted)] == [(DEVICE, "identity")]
    (fault,) = await liar.wait_for(PeerFaulted)  # the refusal, which its own end knows as not its own
    assert fault.kind == "identity"
    assert not victim.all(Answered)


async def test_a_device_of_another_site_is_not_heard(place: Any, broker: Any, ear: Any, words: Any) -> None:
    """With the usual access rules alone it may speak under this site's roof, in its own name."""
    await place.listening(ear)
    foreign = words.questions(device="yard.cam1")
    said(broker, "cascade/v1/barn/yard.cam1/up/ask", encode_questions(foreign))
    (fault,) = await ear.wait_for(PeerFaulted)
    assert fault.kind == "identity"
    assert not ear.all(Asked)
    await place.until(lambda: in_flight(broker) == 0)


@pytest.mark.parametrize("payload", [b"", b"\xff" * 40, b"\x08\x63", bytes(100_000)])
async def test_rubbish_is_acknowledged_at_once_and_counted(place: Any, broker: Any, ear: Any, payload: bytes) -> None:
    below = await place.listening(ear)
    said(broker, ask_topic(DEVICE), payload)
    (fault,) = await ear.wait_for(PeerFaulted)
    assert fault.peer == DEVICE
    await place.until(lambda: in_flight(broker) == 0)
    assert below.unread == 0


async def test_a_bad_question_is_refused_and_the_good_ones_beside_it_are_asked(
    place: Any, broker: Any, ear: Any, words: Any, new_ear: Any
) -> None:
    below = await place.listening(ear)
    device_ear = new_ear()
    device = place.above(DEVICE)
    await device.open(device_ear)
    await device_ear.wait_for(LinkUp)
    device.ask([*words.questions(ms_left=-5.0), *words.questions(first=1)])
    (event,) = await ear.wait_for(Asked)
    below.reply(event.back, [words.answer(event.question)])
    answers = [event.answer for event in await device_ear.wait_for(Answered, 2)]
    assert {(answer.id, answer.outcome) for answer in answers} == {("q0", Outcome.REFUSED), ("q1", Outcome.ANSWERED)}
    await place.until(lambda: in_flight(broker) == 0)


async def test_an_empty_message_is_a_probe_and_acknowledged(place: Any, broker: Any, ear: Any) -> None:
    await place.listening(ear)
    said(broker, ask_topic(DEVICE), encode_questions([]))
    await place.until(lambda: in_flight(broker) == 0)
    assert not ear.all(Asked)
    assert not ear.all(PeerFaulted)


async def test_a_bug_of_ours_does_not_make_a_message_come_for_ever(place: Any, broker: Any, ear: Any) -> None:
    seen: list[str] = []

    def broken(device: str, online: bool, retained: bool) -> None:
        seen.append(device)
        raise RuntimeError("a bug")

    below = await place.listening(ear, callbacks={"on_presence": broken})
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    below.set_desk(True)
    await place.until(lambda: len(broker._sessions["gw1"].subscriptions) == 3)
    said(broker, presence_topic(DEVICE), encode_presence(Presence(True)))
    await ear.wait_for(PeerFaulted)
    await place.until(lambda: in_flight(broker) == 0)
    assert seen == [DEVICE]
    assert [str(error) for error in reported] == ["a bug"]


async def test_who_holds_the_desk_hears_presence_and_metrics(place: Any, broker: Any, ear: Any) -> None:
    presences, metrics = [], []
    callbacks = {
        "on_presence": lambda *what: presences.append(what),
        "on_metrics": lambda *what: metrics.append(what),
    }
    said(broker, presence_topic("barn.old"), encode_presence(Presence(True)), retain=True)
    below = await place.listening(ear, callbacks=callbacks)
    said(broker, metrics_topic(DEVICE), b"before")
    below.set_desk(True)
    await place.until(lambda: presences == [("barn.old", True, True)])
    said(broker, presence_topic(DEVICE), encode_presence(Presence(False)))
    said(broker, metrics_topic(DEVICE), b"numbers")
    await place.until(lambda: metrics == [(DEVICE, b"numbers")])
    assert presences[1] == (DEVICE, False, False)
    below.set_desk(False)
    await place.until(lambda: len(broker._sessions["gw1"].subscriptions) == 1)


async def test_the_desk_is_held_again_after_a_reconnect(place: Any, broker: Any, ear: Any) -> None:
    metrics: list[Any] = []
    below = await place.listening(ear, callbacks={"on_metrics": lambda *what: metrics.append(what)})
    below.set_desk(True)
    broker.wire_of("gw1").abort()
    await place.until(lambda: broker.connects.count("gw1") == 2 and len(broker._sessions["gw1"].subscriptions) == 3)
    said(broker, metrics_topic(DEVICE), b"numbers")
    await place.until(lambda: metrics == [(DEVICE, b"numbers")])


async def test_metrics_that_are_too_large_are_a_fault(place: Any, broker: Any, ear: Any) -> None:
    metrics: list[Any] = []
    settings = {"max_packet_bytes": 2 * MAX_RETAINED_BYTES}
    below = await place.listening(ear, callbacks={"on_metrics": lambda *what: metrics.append(what)}, **settings)
    below.set_desk(True)
    await place.until(lambda: len(broker._sessions["gw1"].subscriptions) == 3)
    said(broker, metrics_topic(DEVICE), bytes(MAX_RETAINED_BYTES + 1))
    assert [fault.kind for fault in await ear.wait_for(PeerFaulted)] == ["size"]
    assert metrics == []


async def test_gateways_of_a_group_share_the_questions(place: Any, broker: Any, words: Any, new_ear: Any) -> None:
    ears = [new_ear(), new_ear()]
    for name, ear in zip(("gw1", "gw2"), ears, strict=True):
        await place.listening(ear, name)
    for number in range(10):
        said(broker, ask_topic(DEVICE), encode_questions(words.questions(first=number)))
    await asyncio.gather(*(ear.wait_for(Asked, 5) for ear in ears))


async def test_what_a_dead_gateway_left_unanswered_is_asked_of_another(
    place: Any, broker: Any, words: Any, new_ear: Any
) -> None:
    first, second = new_ear(), new_ear()
    await place.listening(first, "gw1", backoff_first_s=60.0, backoff_most_s=60.0)
    await asked_at_once(broker, first, words.questions(2))
    await place.listening(second, "gw2")
    broker.wire_of("gw1").abort()
    assert {event.question.id for event in await second.wait_for(Asked, 2)} == {"q0", "q1"}


async def test_an_answer_found_after_a_reconnect_is_given_all_the_same(
    place: Any, broker: Any, ear: Any, words: Any, new_ear: Any
) -> None:
    below = await place.listening(ear)
    device_ear = new_ear()
    device = place.above(DEVICE)
    await device.open(device_ear)
    await device_ear.wait_for(LinkUp)
    device.ask(words.questions())
    (event,) = await ear.wait_for(Asked)
    broker.wire_of("gw1").abort()
    await place.until(lambda: broker.connects.count("gw1") == 2 and below.trouble == "")
    below.reply(event.back, [words.answer(event.question)])
    assert (await device_ear.wait_for(Answered))[0].answer.id == "q0"


async def test_answers_without_a_broker_are_dropped_and_counted(place: Any, broker: Any, ear: Any, words: Any) -> None:
    below = await place.listening(ear, backoff_first_s=60.0, backoff_most_s=60.0)
    (event,) = await asked_at_once(broker, ear, words.questions())
    broker.wire_of("gw1").abort()
    await place.until(lambda: below.trouble != "")
    below.reply(event.back, [words.answer(event.question)])
    await place.until(lambda: below.dropped_answers == 1)
