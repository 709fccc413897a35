"""A journal without its beginning: the hop catches up, and then decides what was decided."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest

from cascade.inference.effects import AskAbove, Effect, Keep, Remember, Reply, RunStage
from cascade.inference.events import (
    Answered,
    Asked,
    BadSample,
    Durability,
    Event,
    Kept,
    LadderInstalled,
    LinkLost,
    LinkUp,
    Predicted,
    Remembered,
    RunFailed,
    Sent,
    Ticked,
)
from cascade.inference.hop import Hop
from cascade.inference.midway import Midway, link_was_up
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, ClassScores, Outcome, Question, Tensor
from cascade.release.ladder import GateSpec, Ladder, LadderStage

LADDER = Ladder(
    task="ripe",
    release="r1",
    stages=(
        LadderStage(name="small", kind="classes", gate=GateSpec("confidence", 0.8), labels=("no", "yes")),
        LadderStage(name="large", kind="classes", gate=GateSpec("confidence", 0.9), labels=("no", "yes")),
    ),
)
Entry = tuple[float, Event, list[Effect]]


def new_hop() -> Hop:
    return Hop(HopSettings(node="barn.cam1", tier="edge", seed=b"seed", audit_share=0.1), UplinkSettings())


def lived(seed: int, slow: bool, turns: int = 600) -> list[Entry]:
    """A hop among models that are slow, fail or are unsure, a link that is cut, and a hop above that is late."""
    dice, hop, now, entries = Random(seed), new_hop(), 0.0, list[Entry]()
    inbox, coming = deque[Event]([LadderInstalled(LADDER), LinkUp()]), list[tuple[float, Event]]()
    up = True
    for number in range(turns):
        now += dice.random() * 0.02
        inbox.extend(event for at, event in coming if at <= now)
        coming = [(at, event) for at, event in coming if at > now]
        durability = dice.choice(list(Durability))
        inbox.append(Asked(question(number), "back", durability))
        if dice.random() < 0.02:
            up = not up
            inbox.append(LinkUp() if up else LinkLost("cut"))
        inbox.append(Ticked())
        while inbox:
            event = inbox.popleft()
            effects = hop.handle(event, now)
            entries.append((now, event, effects))
            for effect in effects:
                coming += [(now + after, event) for after, event in done(effect, dice, slow)]
            inbox.extend(event for at, event in coming if at <= now)
            coming = [(at, event) for at, event in coming if at > now]
    return entries


def question(number: int) -> Question:
    return Question(
        id=f"q{number}", device="barn.cam1", stream="cam", sequence=number, task="ripe", release="r1",
        payload=(Tensor("x", "uint8", (4,), b"abcd"),), ms_left=200.0, keep_ms=5000.0,
    )  # fmt: skip


def done(effect: Effect, dice: Random, slow: bool) -> list[tuple[float, Event]]:
    if isinstance(effect, RunStage):
        if dice.random() < 0.03:
            return [(0.01 * slow, RunFailed(effect.run, "out of memory"))]
        scores = [dice.random() for _ in effect.questions]
        results = tuple(BadSample("shape") if p < 0.03 else ClassScores((p, 1.0 - p)) for p in scores)
        return [(dice.choice([0.0, 0.0, 0.03]) * slow, Predicted(effect.run, results, 1.0))]
    if isinstance(effect, AskAbove):
        asked = effect.question
        answer = Answer(
            id=asked.id, device=asked.device, digest=asked.digest, stream="cam", sequence=asked.sequence, task="ripe",
            release="r1", outcome=Outcome.ANSWERED, reason="sure", prediction=ClassScores((0.0, 1.0)), label="yes",
            tier="fog",
        )  # fmt: skip
        return [(0.0, Sent("above", 100, (asked.key,))), (dice.random() * 0.3, Answered(answer))]
    if isinstance(effect, Keep):
        return [(0.005, Kept(effect.question.key))]
    return [(0.0, Remembered(effect.key))] if isinstance(effect, Remember) else []


def answers_of(entries: list[Entry]) -> dict[str, list[Answer]]:
    given: dict[str, list[Answer]] = {}
    for _, _, effects in entries:
        for effect in effects:
            if isinstance(effect, Reply):
                given.setdefault(effect.answer.id, []).append(effect.answer)
    return given


def told_again(seed: int, slow: bool) -> tuple[list[bool], int]:
    """From somewhere in the middle: of what is told without a doubt, whether it is right; and how much there was."""
    entries = lived(seed, slow)
    rest = entries[Random(seed).randrange(200, len(entries) // 2) :]
    hop = new_hop()
    hop.handle(LadderInstalled(LADDER), rest[0][0])
    midway = Midway(hop, up=link_was_up((now, event) for now, event, _ in rest))
    again = answers_of([(now, event, midway.handle(event, now)) for now, event, _ in rest])
    asked = [event.question.key for _, event, _ in rest if isinstance(event, Asked)]
    really = answers_of(entries)
    return [again.get(key.id) == really.get(key.id) for key in asked if key not in midway.doubtful], len(asked)


@pytest.mark.parametrize("seed", range(10))
def test_from_the_middle_it_decides_again_what_was_decided(seed: int) -> None:
    right, asked = told_again(seed, slow=False)
    assert len(right) > 0.8 * asked
    assert all(right)


@pytest.mark.parametrize("seed", range(10))
def test_what_it_can_not_keep_step_with_it_does_not_tell(seed: int) -> None:
    right, asked = told_again(seed, slow=True)
    assert len(right) > 0.7 * asked
    assert all(right)


def test_whether_the_link_was_up_is_told_by_what_happens_to_it_first() -> None:
    sent = Sent("above", 1, (question(1).key,))
    assert [link_was_up([(0.0, event)]) for event in (LinkLost("x"), LinkUp(), sent, Ticked())] == [
        True, False, True, False,
    ]  # fmt: skip


def test_what_was_open_before_is_left_out() -> None:
    midway = Midway(new_hop(), up=False)
    assert midway.handle(Predicted(7, (ClassScores((1.0,)),)), 1.0) == []
    assert midway.handle(Remembered(question(1).key), 1.0) == []
