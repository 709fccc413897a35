"""The ask socket: who may ask, how much, and that answers find the way back."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.errors import BadInput, LinkError, PeerError, SettingsError
from cascade.inference.events import PeerFaulted
from cascade.messages import Answer, Outcome, Payload
from edge_agent import ask_client_end, ask_socket
from edge_agent.ask_client import AskClient, AskRefused, ask
from edge_agent.ask_mailbox import MAX_LETTERS
from edge_agent.ask_socket import AskSocket
from edge_agent.kept_answers import KeptAnswers
from edge_agent.settings import AskSocketTable

QUESTION = b'{"stream":"cam","tensors":[{"name":"x","dtype":"uint8","shape":[4]}],"bytes":4}\nabcd'


class Agent:
    """Takes questions, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Payload, str, float | None, int | None]] = []
        self.raises: Exception | None = None
        self.at_once: Callable[[str, str], None] | None = None
        self.durable = True

    def submit(
        self,
        stream: str,
        payload: Payload,
        back: str,
        *,
        ms_left: float | None = None,
        priority: int | None = None,
        accepted: Callable[[str, bool], None],
    ) -> str:
        if self.raises is not None:
            raise self.raises
        self.asked.append((stream, payload, back, ms_left, priority))
        question_id = f"q{len(self.asked)}"
        if self.at_once is not None:
            self.at_once(question_id, back)
        accepted(question_id, self.durable)
        return question_id


def answer(question_id: str, **more: Any) -> Answer:
    said = {"device": "barn.cam1", "digest": b"", "stream": "cam", "sequence": 1, "task": "t", "release": "r"}
    return Answer(**{"id": question_id, "outcome": Outcome.ANSWERED, "reason": "sure"} | said | more)


class Place:
    """A socket under test, with its agent and what it told."""

    def __init__(self, folder: Path, heard: Any) -> None:
        self.path, self.agent, self.heard = folder / "ask.sock", Agent(), heard
        self.taken: list[tuple[str, str]] = []
        self.kept = KeptAnswers(10)
        self.sockets: list[AskSocket] = []

    async def open(self, **more: Any) -> AskSocket:
        socket_ = AskSocket(
            AskSocketTable(path=self.path, **{"max_bytes": 1000} | more),
            ["cam", "hand"],
            self.agent,
            self.heard,
            lambda back, answer: self.taken.append((back, answer.id)),
            self.kept,
        )
        await socket_.open()
        self.sockets.append(socket_)
        return socket_

    async def until(self, what: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not what():  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def asked(self, count: int) -> None:
        await self.until(lambda: len(self.agent.asked) >= count)


class Raw:
    """A client that says whatever the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def at(cls, place: Place) -> Raw:
        return cls(*await asyncio.open_unix_connection(str(place.path)))

    def say(self, *said: Any) -> None:
        for one in said:
            self.writer.write(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            line = await self.reader.readline()
        return json.loads(line) if line else {"closed": True}

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
async def place(tmp_path: Path, heard: Any) -> AsyncIterator[Place]:
    place = Place(tmp_path, heard)
    yield place
    for socket_ in place.sockets:
        await socket_.close()


async def test_a_question_is_accepted_and_answered(place: Place) -> None:
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say(QUESTION.replace(b'"bytes"', b'"id":"mine","deadline_ms":200,"priority":7,"bytes"'))
    assert await client.hear() == {"accepted": "q1", "tag": "mine"}
    stream, payload, back, ms_left, priority = place.agent.asked[0]
    assert (stream, payload[0].data, ms_left, priority) == ("cam", b"abcd", 200.0, 7)
    assert socket_.deliver(back, answer("q1", provisional=True))
    assert socket_.deliver(back, answer("q1", correction=True))
    said = [await client.hear(), await client.hear()]
    assert [(one["id"], one["tag"], one["provisional"], one["correction"]) for one in said] == [
        ("q1", "mine", True, False),
        ("q1", "mine", False, True),
    ]


async def test_an_answer_given_within_the_asking_comes_after_the_acceptance(place: Place) -> None:
    socket_ = await place.open()
    place.agent.at_once = lambda question_id, back: (socket_.deliver(back, answer(question_id)), None)[1]
    client = await Raw.at(place)
    client.say(QUESTION, QUESTION)
    said = [await client.hear() for _ in range(4)]
    assert [one.get("accepted") or one["id"] for one in said] == ["q1", "q1", "q2", "q2"]
    assert ["accepted" in one for one in said] == [True, False, True, False]


async def test_the_client_for_python_programs_asks_and_gets_its_answer(place: Place) -> None:
    socket_ = await place.open()
    place.agent.at_once = lambda question_id, back: (
        socket_.deliver(back, answer(question_id, provisional=True)),
        socket_.deliver(back, answer(question_id, reason="late")),
        None,
    )[2]
    image = np.arange(6, dtype=">f4").reshape(2, 3)
    said = await asyncio.to_thread(ask, place.path, "cam", {"image": image}, final=True)
    assert said["reason"] == "late"
    (tensor,) = place.agent.asked[0][1]
    assert (tensor.name, tensor.dtype, tensor.shape) == ("image", "float32", (2, 3))
    assert np.frombuffer(tensor.data, "<f4").tolist() == [0, 1, 2, 3, 4, 5]


async def test_the_client_for_python_programs_raises_what_was_refused(place: Place) -> None:
    await place.open()
    with pytest.raises(AskRefused, match="unknown_stream: known: cam, hand"):
        await asyncio.to_thread(ask, place.path, "attic", {"x": np.zeros(3, np.uint8)})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadInput("shape"), "bad_input"),
        (PeerError("overloaded", "full"), "overloaded"),
        (LinkError("x"), "unavailable"),
    ],
)
async def test_what_the_agent_refuses_is_an_error_line(place: Place, error: Exception, kind: str) -> None:
    await place.open()
    place.agent.raises = error
    client = await Raw.at(place)
    client.say(QUESTION)
    assert (await client.hear())["error"] == kind
    place.agent.raises = None
    client.say(QUESTION)
    assert (await client.hear())["accepted"] == "q1"


async def test_refusals_are_counted_with_a_closed_kind(place: Place) -> None:
    await place.open()
    client = await Raw.at(place)
    client.say(b"rubbish\n")
    assert (await client.hear())["error"] == "bad_request"
    assert await client.hear() == {"closed": True}
    (fault,) = place.heard.of(PeerFaulted)
    assert (fault.peer, fault.kind) == (f"user {os.getuid()}", "bad_request")


async def test_a_question_that_is_too_large_is_refused_before_it_is_read(place: Place) -> None:
    await place.open(max_bytes=3)
    client = await Raw.at(place)
    client.say(QUESTION)
    assert (await client.hear())["error"] == "too_large"


async def test_a_client_that_asks_too_fast_is_refused_and_others_are_not(place: Place) -> None:
    await place.open(max_per_s=2)
    fast, other = await Raw.at(place), await Raw.at(place)
    fast.say(*[QUESTION] * 5)
    said = [await fast.hear() for _ in range(5)]
    assert [one.get("error", "accepted") for one in said] == ["accepted"] * 2 + ["too_fast"] * 3
    other.say(QUESTION)
    assert "accepted" in await other.hear()


async def test_a_client_too_many_is_told_so(place: Place) -> None:
    await place.open(max_clients=1)
    first = await Raw.at(place)
    first.say(QUESTION)
    await first.hear()
    second = await Raw.at(place)
    assert (await second.hear())["error"] == "too_many_clients"
    await first.leave()
    await place.until(lambda: not place.sockets[0]._ends)
    third = await Raw.at(place)
    third.say(QUESTION)
    assert "accepted" in await third.hear()


async def test_another_user_may_not_ask(place: Place) -> None:
    await place.open(allowed_users=(str(os.getuid() + 1),))
    client = await Raw.at(place)
    assert (await client.hear())["error"] == "not_allowed"


async def test_a_user_or_group_that_is_not_there_is_a_mistake_in_the_settings(place: Place) -> None:
    with pytest.raises(SettingsError, match="allowed_users"):
        await place.open(allowed_users=("nobody-of-this-name",))
    with pytest.raises(SettingsError, match="group"):
        await place.open(group="nobody-of-this-name")


async def test_a_request_that_stands_half_done_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_socket, "REQUEST_WITHIN_S", 0.05)
    monkeypatch.setattr(ask_socket, "SWEEP_S", 0.02)
    await place.open()
    quiet, slow = await Raw.at(place), await Raw.at(place)
    slow.say(QUESTION[:-1])
    assert (await slow.hear())["error"] == "too_slow"
    quiet.say(QUESTION)
    assert "accepted" in await quiet.hear()


async def test_a_client_that_does_not_read_is_disconnected(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_client_end, "MAX_UNREAD_BYTES", 20_000)
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say(QUESTION)
    await place.asked(1)
    back, sent = place.agent.asked[0][2], 0
    while socket_.deliver(back, answer("q1", provisional=True, reason="x" * 10_000)):
        sent += 1
        assert sent < 1000
    assert [fault.kind for fault in place.heard.of(PeerFaulted)] == ["unread"]


async def test_a_client_that_has_said_all_still_hears_its_answer(place: Place) -> None:
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say(QUESTION)
    client.writer.write_eof()
    assert "accepted" in await client.hear()
    assert socket_.deliver(place.agent.asked[0][2], answer("q1"))
    assert (await client.hear())["id"] == "q1"
    assert await client.hear() == {"closed": True}


async def test_a_client_that_has_said_all_and_then_leaves_is_noticed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_socket, "SWEEP_S", 0.02)
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say({"client": "bell"}, QUESTION)
    client.writer.write_eof()
    await client.hear()
    await client.leave()
    assert not socket_.deliver(place.agent.asked[0][2], answer("q1"))
    await place.until(lambda: not socket_._ends)


async def test_answers_of_an_asker_without_a_name_that_left_are_dropped_and_counted(place: Place) -> None:
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say(QUESTION)
    await client.hear()
    await client.leave()
    await place.until(lambda: not socket_._ends)
    back = place.agent.asked[0][2]
    assert not socket_.deliver(back, answer("q1"))
    assert not socket_.waits_for(back)
    assert socket_.dropped == 1


async def test_an_asker_with_a_name_gets_what_it_missed_when_it_comes_again(place: Place) -> None:
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say({"client": "bell"}, QUESTION)
    await client.hear()
    await client.leave()
    await place.until(lambda: not socket_._ends)
    back = place.agent.asked[0][2]
    assert not socket_.deliver(back, answer("q1"))
    assert socket_.waits_for(back)
    assert place.taken == []
    again = await Raw.at(place)
    again.say({"client": "bell"})
    assert (await again.hear())["id"] == "q1"
    assert place.taken == [(back, "q1")]


async def test_a_name_and_its_answers_outlive_a_restart_of_the_agent(place: Place) -> None:
    await place.open()
    client = await Raw.at(place)
    client.say({"client": "bell"}, QUESTION)
    await client.hear()
    await place.sockets[0].close()
    socket_ = await place.open()
    assert not socket_.deliver(place.agent.asked[0][2], answer("q1", repeated=True))
    again = await Raw.at(place)
    again.say({"client": "bell"})
    assert (await again.hear())["repeated"]


async def test_with_acks_an_answer_comes_again_until_it_is_acknowledged(place: Place) -> None:
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say({"client": "bell", "acks": True}, QUESTION)
    await client.hear()
    back = place.agent.asked[0][2]
    assert not socket_.deliver(back, answer("q1"))
    assert not (await client.hear())["repeated"]
    await client.leave()
    again = await Raw.at(place)
    again.say({"client": "bell", "acks": True})
    assert (await again.hear())["repeated"]
    assert place.taken == []
    again.say({"ack": "q1"}, {"ack": "q1"}, {"ack": "nothing"})
    await place.until(lambda: place.taken)
    assert place.taken == [(back, "q1")]


async def test_what_waits_for_an_absent_asker_is_bounded(place: Place) -> None:
    socket_ = await place.open()
    for number in range(MAX_LETTERS + 10):
        socket_.deliver("ask:u7.bell:", answer(f"q{number}"))
    for number in range(500):
        socket_.deliver(f"ask:u7.bell{number}:", answer("q"))
    assert socket_.dropped_letters >= 10
    assert len(socket_._boxes._boxes) <= 64


async def test_the_last_one_to_take_a_name_has_it(place: Place) -> None:
    await place.open()
    first, second = await Raw.at(place), await Raw.at(place)
    first.say({"client": "bell"}, QUESTION)
    await first.hear()
    second.say({"client": "bell"})
    assert (await first.hear())["error"] == "replaced"
    second.say(QUESTION)
    assert "accepted" in await second.hear()


async def test_a_name_comes_in_the_first_line_or_never(place: Place) -> None:
    await place.open()
    client = await Raw.at(place)
    client.say(QUESTION, {"client": "bell"})
    assert "accepted" in await client.hear()
    assert (await client.hear())["error"] == "bad_request"


async def test_the_socket_is_for_its_owner_and_group(place: Place) -> None:
    await place.open()
    assert place.path.stat().st_mode & 0o777 == 0o660
    assert os.listdir(place.path.parent) == ["ask.sock"]


async def test_a_socket_that_was_left_behind_is_replaced(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.path))
    await place.open()
    client = await Raw.at(place)
    client.say(QUESTION)
    assert "accepted" in await client.hear()


async def test_a_socket_on_which_somebody_listens_is_left_alone(place: Place) -> None:
    await place.open()
    with pytest.raises(LinkError, match="another process listens"):
        await place.open()
    client = await Raw.at(place)
    client.say(QUESTION)
    assert "accepted" in await client.hear()


async def test_something_else_at_the_path_is_left_alone(place: Place) -> None:
    place.path.write_text("mine")
    with pytest.raises(LinkError, match="something else"):
        await place.open()
    assert place.path.read_text() == "mine"


async def test_a_path_that_is_too_long_is_a_link_error(tmp_path: Path, heard: Any) -> None:
    place = Place(tmp_path / ("x" * 120), heard)
    with pytest.raises(LinkError):
        await place.open()


async def test_closing_takes_the_socket_away(place: Place) -> None:
    socket_ = await place.open()
    client = await Raw.at(place)
    client.say(QUESTION)
    await client.hear()
    await socket_.close()
    assert not place.path.exists()
    assert await client.hear() == {"closed": True}


async def test_a_named_client_for_python_programs_acknowledges(place: Place) -> None:
    socket_ = await place.open()
    place.agent.at_once = lambda question_id, back: (socket_.deliver(back, answer(question_id)), None)[1]

    def program() -> dict[str, Any]:
        with AskClient(place.path, name="bell", acks=True) as client:
            client.submit("cam", {"x": np.zeros(3, np.uint8)}, tag="mine")
            said = client.next_answer()
            client.ack(said["id"])
            return said

    assert (await asyncio.to_thread(program))["tag"] == "mine"
    await place.until(lambda: place.taken)


async def test_a_question_that_could_not_be_kept_is_accepted_with_a_word_about_it(place: Place) -> None:
    await place.open()
    place.agent.durable = False
    client = await Raw.at(place)
    client.say(QUESTION)
    assert await client.hear() == {"accepted": "q1", "durable": False}
    await client.leave()


async def test_the_agents_own_user_may_ask_why(place: Place) -> None:
    await place.open()
    for number in range(12):
        place.kept.keep(answer(f"q{number}"))
    client = await Raw.at(place)
    client.say({"why": "q5"}, {"why": "nothing"}, {"why_last": 2})
    told = [(await client.hear())["why"] for _ in range(3)]
    assert [[one["id"] for one in each["answers"]] for each in told] == [["q5"], [], ["q10", "q11"]]
    assert [(each["kept"], each["keeps"], each["left_out"]) for each in told] == [(10, 10, 0)] * 3


async def test_another_user_is_not_told_what_others_were_answered(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.open()
    monkeypatch.setattr(ask_client_end, "_user_of", lambda transport: os.geteuid() + 1)
    client = await Raw.at(place)
    client.say({"why": "q5"}, QUESTION)
    assert (await client.hear())["error"] == "not_allowed"
    assert "accepted" in await client.hear()


async def test_who_asks_why_too_fast_is_refused(place: Place) -> None:
    await place.open(max_per_s=2)
    client = await Raw.at(place)
    client.say(*[{"why_last": 1}] * 3)
    said = [await client.hear() for _ in range(3)]
    assert [one.get("error", "told") for one in said] == ["told", "told", "too_fast"]


async def test_of_answers_too_long_for_a_line_the_oldest_are_left_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_socket, "MOST_TOLD_BYTES", 1000)
    await place.open()
    for number in range(10):
        place.kept.keep(answer(f"q{number}", label="x" * 100))
    client = await Raw.at(place)
    client.say({"why_last": 10})
    told = (await client.hear())["why"]
    assert told["left_out"] + len(told["answers"]) == 10
    assert told["answers"][-1]["id"] == "q9"
    assert 0 < len(told["answers"]) < 10


async def test_the_client_for_python_programs_asks_why(place: Place) -> None:
    await place.open()
    place.kept.keep(answer("q1"))

    def program() -> list[dict[str, Any]]:
        with AskClient(place.path) as client:
            return [client.why("q1"), client.why(last=5)]

    told = await asyncio.to_thread(program)
    assert [[one["id"] for one in each["answers"]] for each in told] == [["q1"], ["q1"]]
