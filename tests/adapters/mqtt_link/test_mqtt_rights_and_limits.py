"""What a real mosquitto lets a device do, and how much of it: rights, certificates, twins, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.transports.mqtt_above import MqttAbove
from cascade.adapters.transports.mqtt_connection import Loss
from cascade.adapters.transports.mqtt_session import MqttSession
from cascade.inference.events import Answered, Asked, Event, LinkLost, LinkUp, PeerFaulted, Unsendable
from cascade.wire.topics import answer_topic, ask_topic, down_filter

pytestmark = pytest.mark.needs_services

DEVICE, OTHER, GATEWAY = "barn.cam1", "barn.cam2", "barn.gw1"
PASSWORDS = {DEVICE: "one", OTHER: "two", GATEWAY: "three", "yard.cam1": "four"}
RULES = [
    f"user {GATEWAY}",
    "topic read cascade/v1/barn/+/up/#",
    "topic write cascade/v1/barn/+/down/#",
    "pattern write cascade/v1/+/%u/up/#",
    "pattern read cascade/v1/+/%u/down/#",
]
WITHIN_S = 20.0


async def until(true: Callable[[], bool]) -> None:
    """Wait for what posts no event."""
    async with asyncio.timeout(WITHIN_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Gateway:
    """Answers everything at once, and remembers what came."""

    def __init__(self, below: Any, ear: Any, answer: Callable[..., Any]) -> None:
        self.below, self.ear, self._answer = below, ear, answer

    def __call__(self, event: Event) -> None:
        self.ear(event)
        if isinstance(event, Asked):
            self.below.reply(event.back, [self._answer(event.question)])


@pytest.fixture
def answering(words: Any, new_ear: Any) -> Callable[..., Any]:
    """Opens a gateway that answers, and listens when this returns; what it hears is returned."""

    async def opened(below: Any) -> Any:
        ear = new_ear()
        await below.open(Gateway(below, ear, words.answer))
        await until(lambda: not below.trouble)
        return ear

    return opened


class Listener:
    """A session of a client that knows neither devices nor gateways."""

    def __init__(self, settings: Any, filters: list[str]) -> None:
        self.session = MqttSession(settings, self, filters)
        self.messages: list[Any] = []
        self.codes: asyncio.Queue[int] = asyncio.Queue()
        self.is_ready = asyncio.Event()

    async def publish(self, topic: str, payload: bytes = b"x") -> int:
        """The code of its acknowledgement."""
        assert self.session.publish(topic, payload, "tag") is not None
        return await asyncio.wait_for(self.codes.get(), WITHIN_S)

    def ready(self) -> None:
        self.is_ready.set()

    def lost(self, loss: Loss, unacknowledged: list[Any]) -> None:
        self.is_ready.clear()

    def acknowledged(self, tag: Any, code: int) -> None:
        self.codes.put_nowait(code)

    def heard(self, message: Any) -> None:
        self.messages.append(message)
        self.session.ack(message)

    def twin(self, detail: str) -> None:
        """It has none."""


@pytest.fixture
def guarded(mosquitto: Any, new_place: Any, tmp_path: Path) -> Any:
    """A mosquitto with passwords and the rules that a deployment has: `place`, and the settings of each user."""
    place = new_place(mosquitto(users=PASSWORDS, acl=RULES).port)

    def who(name: str, password: str = "") -> dict[str, str]:
        path = tmp_path / f"password of {name}"
        path.write_text(password or PASSWORDS[name])
        return {"username": name, "password_file": str(path)}

    return place, who


async def listening(place: Any, filters: list[str], **settings: Any) -> Listener:
    listener = Listener(place.settings("listener", **settings), filters)
    await listener.session.open()
    await asyncio.wait_for(listener.is_ready.wait(), WITHIN_S)
    return listener


async def test_a_device_that_asks_for_another_is_refused_by_the_broker_and_told_why(
    guarded: Any, answering: Any, ear: Any
) -> None:
    place, who = guarded
    heard = await answering(place.below(GATEWAY, **who(GATEWAY)))
    await place.above(OTHER, client_id="liar", **who(DEVICE)).open(ear)
    assert (await ear.wait_for(LinkLost))[0].reason == "the broker does not let this device ask"
    assert not ear.all(LinkUp)
    assert not heard.all(Asked)


async def test_a_device_may_neither_speak_nor_hear_for_another(guarded: Any, new_ear: Any) -> None:
    place, who = guarded
    spy = await listening(place, [down_filter(OTHER), down_filter(DEVICE), "cascade/#"], **who(DEVICE))
    gateway = Listener(place.settings("gateway", **who(GATEWAY)), ["cascade/v1/barn/+/up/#"])
    await gateway.session.open()
    await asyncio.wait_for(gateway.is_ready.wait(), WITHIN_S)
    assert await spy.publish(ask_topic(OTHER)) == 0x87
    await gateway.publish(answer_topic(OTHER), b"not for the spy")
    await gateway.publish(answer_topic(DEVICE), b"for the spy")
    await until(lambda: bool(spy.messages))
    assert {message.payload for message in spy.messages} == {b"for the spy"}
    assert not gateway.messages
    await spy.session.close()
    await gateway.session.close()


async def test_a_device_that_speaks_in_another_site_passes_the_rules_and_is_refused_by_the_gateway(
    guarded: Any, answering: Any, ear: Any, words: Any
) -> None:
    place, who = guarded
    heard = await answering(place.below(GATEWAY, **who(GATEWAY)))
    stranger = await listening(place, ["nothing"], **who("yard.cam1"))
    assert await stranger.publish("cascade/v1/barn/yard.cam1/up/ask") == 0x00
    (fault,) = await heard.wait_for(PeerFaulted)
    assert (fault.peer, fault.kind) == ("yard.cam1", "identity")
    above = place.above(DEVICE, **who(DEVICE))
    await above.open(ear)
    await ear.wait_for(LinkUp)
    above.ask(words.questions())
    await ear.wait_for(Answered)
    await stranger.session.close()


async def test_a_gateway_whose_answers_are_refused_says_so(guarded: Any, new_ear: Any, words: Any) -> None:
    place, who = guarded
    below, ear = place.below("gw2", **who(DEVICE)), new_ear()
    await below.open(ear)
    await until(lambda: not below.trouble)
    below.reply(f"mqtt:{DEVICE}", [words.answer(words.questions()[0])])
    assert "an answer of this gateway is refused: 0x87" in (await ear.wait_for(PeerFaulted))[0].detail


class Certified:
    """A mosquitto that knows its clients by their certificates, and the files of each."""

    def __init__(self, mosquitto: Any, new_place: Any, authority: Any) -> None:
        self.authority, self.ours = authority, authority("ours")
        server = self.ours.issue("broker", ["127.0.0.1"])
        self.server = mosquitto(tls=(self.ours.file, *server), acl=RULES)
        self.place = new_place(self.server.port)

    def files(self, name: str, by: Any = None, **how: Any) -> dict[str, str]:
        certificate, key = (by or self.ours).issue(name, **how)
        return {"ca_file": str(self.ours.file), "cert_file": str(certificate), "key_file": str(key)}


@pytest.fixture
def certified(mosquitto: Any, new_place: Any, authority: Any) -> Certified:
    return Certified(mosquitto, new_place, authority)


async def test_a_certificate_is_an_identity_with_its_rights(
    certified: Certified, answering: Any, ear: Any, words: Any, new_ear: Any
) -> None:
    await answering(certified.place.below(GATEWAY, **certified.files(GATEWAY)))
    files = certified.files(DEVICE)
    above = certified.place.above(DEVICE, **files)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    above.ask(words.questions(20, size=50_000))
    await ear.wait_for(Answered, 20)
    liar_ear = new_ear()
    await certified.place.above(OTHER, **files).open(liar_ear)
    assert (await liar_ear.wait_for(LinkLost))[0].reason == "the broker does not let this device ask"


async def test_a_certificate_that_has_expired_is_said_plainly(certified: Certified, ear: Any) -> None:
    """What the broker says of it is often lost: it hangs up while our CONNECT is under way."""
    await certified.place.above(DEVICE, **certified.files(DEVICE, valid_s=-60.0)).open(ear)
    reason = (await ear.wait_for(LinkLost))[0].reason
    assert reason.endswith(", before it answered (does it take our certificate?)")


async def test_two_agents_of_one_name_slow_down_and_say_so(mosquitto: Any, new_place: Any, new_ear: Any) -> None:
    server = mosquitto()
    place = new_place(server.port)
    ears = [new_ear(), new_ear()]
    for ear in ears:
        await place.above(DEVICE, reconnects_a_minute=6).open(ear)
    for ear in ears:
        assert (await ear.wait_for(PeerFaulted))[0].kind == "identity_taken"
    await until(lambda: server.log().count(f"as {DEVICE}") == 12)
    await asyncio.sleep(1.0)  # long enough for dozens more, were they not held back
    assert server.log().count(f"as {DEVICE}") == 12


async def test_a_limit_that_the_broker_keeps_to_itself_makes_a_question_unsendable_in_the_end(
    mosquitto: Any, new_place: Any, answering: Any, ear: Any, words: Any
) -> None:
    """mosquitto's `message_size_limit` is in no CONNACK: it only shows in what becomes of the message."""
    place = new_place(mosquitto(lines=["message_size_limit 20000"]).port)
    await answering(place.below(GATEWAY))
    above = place.above(DEVICE)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    large, small = words.questions(first=1, size=30_000), words.questions(first=2)
    asked = asyncio.create_task(_ask_again_and_again(above, [*large, *small]))
    await ear.wait_for(Answered, within_s=WITHIN_S)
    assert (await ear.wait_for(Unsendable, within_s=WITHIN_S))[0].key.id == "q1"
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def _ask_again_and_again(above: MqttAbove, questions: list[Any]) -> None:
    """As a hop does, in its own time."""
    while True:
        above.ask(questions)
        await asyncio.sleep(0.05)


async def test_a_broker_that_takes_one_message_at_a_time_gets_one_at_a_time(
    mosquitto: Any, new_place: Any, answering: Any, ear: Any, words: Any
) -> None:
    place = new_place(mosquitto(lines=["max_inflight_messages 1"]).port)
    await answering(place.below(GATEWAY))
    above = place.above(DEVICE)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    losses = len(ear.all(LinkLost))
    assert above._session._window == 1
    for question in words.questions(300):
        above.ask([question])
    await ear.wait_for(Answered, 300)
    assert len(ear.all(LinkLost)) == losses


async def test_a_thousand_questions_are_under_way_at_once(
    mosquitto: Any, new_place: Any, new_ear: Any, ear: Any, words: Any
) -> None:
    place = new_place(mosquitto().port)
    below, heard = place.below(GATEWAY), new_ear()
    await below.open(heard)
    above = place.above(DEVICE)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    above.ask(words.questions(1000))
    asked = await heard.wait_for(Asked, 1000)
    assert not ear.all(Answered)
    for event in asked:
        below.reply(event.back, [words.answer(event.question)])
    await ear.wait_for(Answered, 1000)
    assert below.unread == 0


async def test_a_gateway_that_does_not_answer_gets_no_more_than_it_takes(
    mosquitto: Any, new_place: Any, new_ear: Any, ear: Any, words: Any
) -> None:
    place = new_place(mosquitto().port)
    slow, heard = place.below("gw1", receive_maximum=2), new_ear()
    await slow.open(heard)
    above = place.above(DEVICE)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    first, *questions = words.questions(7)
    above.ask([first])
    (event,) = await heard.wait_for(Asked)
    slow.reply(event.back, [words.answer(first)])
    await ear.wait_for(Answered)  # mosquitto 2.0.11 counts one too few while it waits for the probe to be acknowledged
    for question in questions:
        above.ask([question])
    await heard.wait_for(Asked, 3)
    await asyncio.sleep(0.2)  # only time shows that nothing more comes
    assert len(heard.all(Asked)) == 3
    for number in range(1, 7):
        event = (await heard.wait_for(Asked, number + 1))[number]
        slow.reply(event.back, [words.answer(event.question)])
    await ear.wait_for(Answered, 7)


async def test_presence_is_read_from_the_will_of_a_device_that_died(mosquitto: Any, new_place: Any, ear: Any) -> None:
    place = new_place(mosquitto().port)
    told: asyncio.Queue[tuple[str, bool, bool]] = asyncio.Queue()
    below = place.below(GATEWAY, callbacks={"on_presence": lambda *words: told.put_nowait(words)})
    below.set_desk(True)
    await below.open(lambda event: None)
    above = place.above(DEVICE)
    await above.open(ear)
    assert (await asyncio.wait_for(told.get(), WITHIN_S))[:2] == (DEVICE, True)
    above._session._connection._sock._sock.close()
    assert await asyncio.wait_for(told.get(), WITHIN_S) == (DEVICE, False, False)


async def test_without_a_gateway_there_is_no_link_until_one_comes(
    mosquitto: Any, new_place: Any, answering: Any, ear: Any
) -> None:
    place = new_place(mosquitto().port)
    await place.above(DEVICE).open(ear)
    assert (await ear.wait_for(LinkLost))[0].reason == "no gateway listens"
    assert not ear.all(LinkUp)
    await answering(place.below(GATEWAY))
    await ear.wait_for(LinkUp)
