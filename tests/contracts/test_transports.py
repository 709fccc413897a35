"""What a link owes to the two hops that it joins, whatever it is made of. See `transport.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from cascade.inference.events import (
    Answered,
    Asked,
    LinkLost,
    LinkUp,
    PeerFaulted,
    Received,
    Sent,
    Unsendable,
)
from cascade.messages import Question

AskedBy = Callable[..., list[Question]]
TOO_LARGE = 300 * 1024


async def opened(line: Any, answering: Any, ear: Any) -> None:
    await line.below.open(answering)
    await line.above.open(ear)
    await ear.wait_for(LinkUp)


async def test_a_question_goes_up_and_its_answer_comes_down(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy
) -> None:
    await opened(line, answering, ear)
    (question,) = asked_by(line.device)
    line.above.ask([question])
    (answer,) = await ear.wait_for(Answered)
    assert answering.all(Asked)[0].question == question
    assert answer.answer.key == question.key


async def test_every_message_is_told_with_its_bytes(line: Any, answering: Any, ear: Any, asked_by: AskedBy) -> None:
    await opened(line, answering, ear)
    line.above.ask(asked_by(line.device, 3))
    await ear.wait_for(Answered, 3)
    sent = [event for event in ear.all(Sent) if event.questions]
    assert [key.id for event in sent for key in event.questions] == ["q0", "q1", "q2"]
    assert sum(event.bytes for event in sent) > 300
    assert {event.link for event in ear.all(Sent)} | {event.link for event in ear.all(Received)} == {"above"}
    await answering.wait_for(Sent)
    assert {event.link for event in answering.all(Sent)} | {event.link for event in answering.all(Received)} == {
        "below"
    }


async def test_many_are_packed(line: Any, answering: Any, ear: Any, asked_by: AskedBy) -> None:
    await opened(line, answering, ear)
    line.above.ask(asked_by(line.device, 200))
    await ear.wait_for(Answered, 200)
    sizes = [len(event.questions) for event in ear.all(Sent) if event.questions]
    assert sizes == [64, 64, 64, 8]


async def test_link_up_follows_a_round_trip(line: Any, answering: Any, ear: Any) -> None:
    await line.above.open(ear)
    await line.below.open(answering)
    await ear.wait_for(LinkUp)
    up_at = [isinstance(event, LinkUp) for event in ear.events].index(True)
    assert not ear.all(LinkLost) or isinstance(ear.events[0], LinkLost)
    assert not any(isinstance(event, Answered) for event in ear.events[:up_at])


async def test_a_cut_link_is_noticed_within_dead_after_s(line: Any, answering: Any, ear: Any) -> None:
    await opened(line, answering, ear)
    lost_before = len(ear.all(LinkLost))
    loop = asyncio.get_running_loop()
    await line.cut()
    began = loop.time()
    await ear.wait_for(LinkLost, lost_before + 1)
    assert loop.time() - began < line.dead_after_s + 0.5


async def test_it_comes_back_by_itself(line: Any, answering: Any, ear: Any, asked_by: AskedBy) -> None:
    await opened(line, answering, ear)
    ups, losses = len(ear.all(LinkUp)), len(ear.all(LinkLost))
    await line.cut()
    await ear.wait_for(LinkLost, losses + 1)
    await line.restore()
    await ear.wait_for(LinkUp, ups + 1)
    line.above.ask(asked_by(line.device))
    await ear.wait_for(Answered)


async def test_what_is_asked_of_a_lost_link_is_dropped(line: Any, answering: Any, ear: Any, asked_by: AskedBy) -> None:
    await opened(line, answering, ear)
    ups, losses = len(ear.all(LinkUp)), len(ear.all(LinkLost))
    await line.cut()
    await ear.wait_for(LinkLost, losses + 1)
    line.above.ask(asked_by(line.device, 5))
    await line.restore()
    await ear.wait_for(LinkUp, ups + 1)
    line.above.ask(asked_by(line.device, first=9))
    await ear.wait_for(Answered)
    assert [event.question.id for event in answering.all(Asked)] == ["q9"]


async def test_up_and_lost_alternate(line: Any, answering: Any, ear: Any) -> None:
    await opened(line, answering, ear)
    for _ in range(2):
        ups, losses = len(ear.all(LinkUp)), len(ear.all(LinkLost))
        await line.cut()
        await ear.wait_for(LinkLost, losses + 1)
        await line.restore()
        await ear.wait_for(LinkUp, ups + 1)
    states = [type(event) for event in ear.events if isinstance(event, LinkUp | LinkLost)]
    assert all(one is not other for one, other in pairwise(states))


async def test_a_question_too_large_is_unsendable_and_harms_no_other(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy
) -> None:
    await opened(line, answering, ear)
    (large,) = asked_by(line.device, size=TOO_LARGE, first=7)
    line.above.ask([*asked_by(line.device, 2), large, *asked_by(line.device, first=8)])
    (told,) = await ear.wait_for(Unsendable)
    await ear.wait_for(Answered, 3)
    assert told.key == large.key
    assert sorted(event.answer.id for event in ear.all(Answered)) == ["q0", "q1", "q8"]


async def test_two_askers_at_one_answerer_get_only_their_own_answers(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy, new_ear: Callable[[], Any]
) -> None:
    await opened(line, answering, ear)
    other, other_device = line.another()
    other_ear = new_ear()
    await other.open(other_ear)
    await other_ear.wait_for(LinkUp)
    line.above.ask(asked_by(line.device, 100))
    other.ask(asked_by(other_device, 100))
    await ear.wait_for(Answered, 100)
    await other_ear.wait_for(Answered, 100)
    assert {event.answer.device for event in ear.all(Answered)} == {line.device}
    assert {event.answer.device for event in other_ear.all(Answered)} == {other_device}
    await other.close()


async def test_garbage_from_a_peer_is_told_and_nobody_else_is_disturbed(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy
) -> None:
    await opened(line, answering, ear)
    lost_before = len(ear.all(LinkLost))
    await line.rubbish()
    fault = (await answering.wait_for(PeerFaulted))[0]
    assert fault.kind == "unparseable"
    line.above.ask(asked_by(line.device))
    await ear.wait_for(Answered)
    assert len(ear.all(LinkLost)) == lost_before


async def test_a_question_in_another_site_s_name_is_refused_and_harms_no_other(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy
) -> None:
    await opened(line, answering, ear)
    line.above.ask([*asked_by("yard.cam1"), *asked_by(line.device, first=1)])
    await ear.wait_for(Answered)
    await answering.wait_for(PeerFaulted)
    assert [event.question.id for event in answering.all(Asked)] == ["q1"]
    assert answering.all(PeerFaulted)[0].kind == "identity"


async def test_what_was_asked_before_closing_is_sent_first(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy
) -> None:
    await opened(line, answering, ear)
    line.above.ask(asked_by(line.device, 200, size=4000))
    await line.above.close()
    await answering.wait_for(Asked, 200)


async def test_answers_to_someone_who_is_gone_are_dropped_without_a_word(
    line: Any, answering: Any, ear: Any, asked_by: AskedBy, new_ear: Callable[[], Any]
) -> None:
    await opened(line, answering, ear)
    line.above.ask(asked_by(line.device))
    await ear.wait_for(Answered)
    back = answering.all(Asked)[0].back
    await line.above.close()
    line.below.reply(back, [ear.all(Answered)[0].answer])
    other, other_device = line.another()
    other_ear = new_ear()
    await other.open(other_ear)
    await other_ear.wait_for(LinkUp)
    other.ask(asked_by(other_device))
    await other_ear.wait_for(Answered)
    await other.close()
