"""The MQTT link at a real mosquitto: restarted, stopped, locked by certificates, passwords and access rules."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.transports.mqtt import MqttSettings
from cascade.adapters.transports.mqtt_session import MqttSession
from cascade.inference.events import Answered, Asked, LinkLost, LinkUp, PeerFaulted, Unsendable
from cascade.wire.codec import encode_answers, encode_questions
from cascade.wire.topics import answer_topic, ask_topic

pytestmark = pytest.mark.needs_services

DEVICE = "barn.cam1"
RULES = [
    "user gw1",
    "topic read cascade/v1/barn/+/up/#",
    "topic write cascade/v1/barn/+/down/#",
    "pattern write cascade/v1/+/%u/up/#",
    "pattern read cascade/v1/+/%u/down/#",
]


class Answering:
    """A gateway's inbox that answers everything at once."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.below: Any = None
        self.asked: list[Any] = []
        self._answer = answer

    def __call__(self, event: Any) -> None:
        if isinstance(event, Asked):
            self.asked.append(event)
            self.below.reply(event.back, [self._answer(event.question)])


async def joined(place: Any, ear: Any, words: Any, device: dict[str, Any], gateway: dict[str, Any]) -> Any:
    """A device with a link to a gateway that answers."""
    answering = Answering(words.answer)
    answering.below = place.below("gw1", **gateway)
    await answering.below.open(answering)
    above = place.above(DEVICE, **device)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    return above


async def goes_through(above: Any, ear: Any, words: Any, first: int = 0) -> None:
    before = len(ear.all(Answered))
    above.ask(words.questions(3, first=first))
    await ear.wait_for(Answered, before + 3)


async def test_it_survives_restarts_of_the_broker(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, words: Any
) -> None:
    broker = mosquitto()
    above = await joined(new_place(broker.port), ear, words, {}, {})
    for number in range(3):
        ups = len(ear.all(LinkUp))
        await asyncio.to_thread(broker.restart)
        await ear.wait_for(LinkUp, ups + 1)
        await goes_through(above, ear, words, first=10 * number)


async def test_a_stopped_broker_is_found_out_within_two_keepalives(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, words: Any
) -> None:
    broker = mosquitto()
    timing = {"keepalive_s": 1, "probe_s": 0.5, "dead_after_s": 1.5}
    above = await joined(new_place(broker.port), ear, words, timing, timing)
    await goes_through(above, ear, words)
    ups, lost = len(ear.all(LinkUp)), len(ear.all(LinkLost))
    broker.freeze()
    began = time.monotonic()
    assert "no sign of life" in (await ear.wait_for(LinkLost, lost + 1))[-1].reason
    assert time.monotonic() - began < 2 * timing["keepalive_s"]
    broker.thaw()
    await ear.wait_for(LinkUp, ups + 1)
    await goes_through(above, ear, words, first=10)


async def test_users_passwords_and_rules_as_they_are_in_production(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, words: Any, tmp_path: Path
) -> None:
    broker = mosquitto(users={DEVICE: "one", "gw1": "two"}, acl=RULES)
    files = {name: _secret(tmp_path, name, password) for name, password in ((DEVICE, "one"), ("gw1", "two"))}
    device, gateway = ({"username": name, "password_file": files[name]} for name in (DEVICE, "gw1"))
    above = await joined(new_place(broker.port), ear, words, device, gateway)
    await goes_through(above, ear, words)
    assert not ear.all(PeerFaulted)


async def test_a_wrong_password_is_said_plainly(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, tmp_path: Path
) -> None:
    broker = mosquitto(users={DEVICE: "one"})
    device = {"username": DEVICE, "password_file": _secret(tmp_path, DEVICE, "wrong")}
    await new_place(broker.port).above(DEVICE, **device).open(ear)
    assert "not authorized (0x87)" in (await ear.wait_for(LinkLost))[0].reason


async def test_a_device_that_may_not_ask_is_told_so(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, tmp_path: Path
) -> None:
    """Its user is not its name, so the rules give it nothing."""
    broker = mosquitto(users={"barn.other": "one"}, acl=RULES)
    device = {"username": "barn.other", "password_file": _secret(tmp_path, "other", "one")}
    await new_place(broker.port).above(DEVICE, **device).open(ear)
    assert (await ear.wait_for(LinkLost))[0].reason == "the broker does not let this device ask"


async def test_certificates_are_the_identity(
    mosquitto: Callable[..., Any], new_place: Any, authority: Any, ear: Any, words: Any
) -> None:
    ours = authority("ours")
    broker = mosquitto(tls=(ours.file, *ours.issue("broker", ["127.0.0.1"])), acl=RULES)
    device, gateway = (_certified(ours, ours, name) for name in (DEVICE, "gw1"))
    above = await joined(new_place(broker.port), ear, words, device, gateway)
    above.ask(words.questions(40, size=100_000))
    await ear.wait_for(Answered, 40)


async def test_a_broker_that_is_not_believed_is_said_plainly(
    mosquitto: Callable[..., Any], new_place: Any, authority: Any, ear: Any
) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    broker = mosquitto(tls=(theirs.file, *theirs.issue("broker", ["127.0.0.1"])))
    await new_place(broker.port).above(DEVICE, **_certified(ours, ours, DEVICE)).open(ear)
    assert "is not believed" in (await ear.wait_for(LinkLost))[0].reason


async def test_a_certificate_that_the_broker_does_not_take_is_said_plainly(
    mosquitto: Callable[..., Any], new_place: Any, authority: Any, ear: Any
) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    broker = mosquitto(tls=(ours.file, *ours.issue("broker", ["127.0.0.1"])))
    await new_place(broker.port).above(DEVICE, **_certified(ours, theirs, DEVICE)).open(ear)
    assert "our certificate" in (await ear.wait_for(LinkLost))[0].reason


async def test_a_client_without_a_certificate_is_turned_away(
    mosquitto: Callable[..., Any], new_place: Any, authority: Any, ear: Any
) -> None:
    ours = authority("ours")
    broker = mosquitto(tls=(ours.file, *ours.issue("broker", ["127.0.0.1"])))
    await new_place(broker.port).above(DEVICE, ca_file=str(ours.file)).open(ear)
    assert "our certificate" in (await ear.wait_for(LinkLost))[0].reason


async def test_what_mosquitto_would_hang_up_on_is_never_sent(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, words: Any
) -> None:
    broker = mosquitto(lines=["max_packet_size 4000"])
    above = await joined(new_place(broker.port), ear, words, {}, {})
    lost = len(ear.all(LinkLost))
    large = words.questions(size=5000)
    above.ask([*large, *words.questions(20, first=1, size=600)])
    assert [event.key for event in await ear.wait_for(Unsendable)] == [large[0].key]
    await ear.wait_for(Answered, 20)
    assert len(ear.all(LinkLost)) == lost


async def test_a_twin_is_suspected_though_mosquitto_hangs_up_without_a_word(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, new_ear: Any
) -> None:
    broker = mosquitto()
    place = new_place(broker.port)
    for listener in (ear, new_ear()):
        await place.above(DEVICE).open(listener)
    (fault, *_) = await ear.wait_for(PeerFaulted)
    assert fault.kind == "identity_taken"


async def test_a_retained_command_that_somebody_left_is_never_acted_on(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, words: Any
) -> None:
    broker = mosquitto()
    old = words.questions(2)
    place = new_place(broker.port)
    for topic, payload in (
        (answer_topic(DEVICE), encode_answers([words.answer(old[0])])),
        (ask_topic(DEVICE), encode_questions([old[1]])),
    ):
        await _leave(place.settings("careless"), topic, payload)
    above = await joined(place, ear, words, {}, {})
    await goes_through(above, ear, words, first=5)
    assert {event.answer.id for event in ear.all(Answered)} == {"q5", "q6", "q7"}


@pytest.mark.slow
async def test_a_small_question_does_not_wait_for_nagle(
    mosquitto: Callable[..., Any], new_place: Any, ear: Any, words: Any, record_property: Any
) -> None:
    """There and back through mosquitto: 0.5 ms on two quiet cores, and 41 ms as paho and mosquitto come."""
    broker = mosquitto()
    above = await joined(new_place(broker.port), ear, words, {}, {})
    took_ms = []
    for number in range(200):
        began = time.perf_counter()
        above.ask(words.questions(first=number, size=3136))
        await ear.wait_for(Answered, number + 1)
        took_ms.append(1000.0 * (time.perf_counter() - began))
    record_property("median_ms", statistics.median(took_ms))
    assert statistics.median(took_ms) < 10.0


@pytest.mark.slow
async def test_thousands_of_questions_a_second_go_through_packed(
    mosquitto: Callable[..., Any], new_place: Any, words: Any, record_property: Any, new_ear: Any
) -> None:
    """256 in flight in packs of 64, both ends in this process: about 30,000 a second on two quiet cores."""
    broker = mosquitto()
    ear, flight, total = new_ear(), 256, 5120
    above = await joined(new_place(broker.port), ear, words, {}, {})
    batches = [words.questions(64, first=64 * number, size=3136) for number in range(flight // 64)]
    began = time.perf_counter()
    for sent, batch in zip(range(0, total, 64), itertools.cycle(batches), strict=False):
        await ear.wait_for(Answered, max(0, sent + 64 - flight))
        above.ask(batch)
    await ear.wait_for(Answered, total)
    per_s = total / (time.perf_counter() - began)
    record_property("questions_per_s", per_s)
    assert per_s > 2000


def _secret(folder: Path, name: str, password: str) -> str:
    path = folder / f"{name}.password"
    path.write_text(password + "\n")
    return str(path)


def _certified(trusts: Any, by: Any, name: str) -> dict[str, str]:
    certificate, key = by.issue(name)
    return {"ca_file": str(trusts.file), "cert_file": str(certificate), "key_file": str(key)}


class _Careless:
    """Publishes one retained message."""

    def __init__(self, settings: MqttSettings, topic: str, payload: bytes) -> None:
        self.session, self.done = MqttSession(settings, self, ["nothing"]), asyncio.Event()
        self._topic, self._payload = topic, payload

    def ready(self) -> None:
        self.session.publish(self._topic, self._payload, "left", retain=True)

    def acknowledged(self, tag: Any, code: int) -> None:
        self.done.set()

    def lost(self, loss: Any, unacknowledged: list[Any]) -> None:
        """It tries again."""

    def heard(self, message: Any) -> None:
        """It does not listen."""

    def twin(self, detail: str) -> None:
        """It has none."""


async def _leave(settings: MqttSettings, topic: str, payload: bytes) -> None:
    careless = _Careless(settings, topic, payload)
    await careless.session.open()
    await asyncio.wait_for(careless.done.wait(), 5.0)
    await careless.session.close()
