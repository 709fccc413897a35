"""What is known of a question when its hop goes through its journal again: when what happened, how the way up was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cascade.inference.budget import Allowance
from cascade.inference.effects import Effect, RunStage
from cascade.inference.events import (
    Answered,
    Asked,
    Durability,
    Event,
    Evicted,
    Kept,
    LadderInstalled,
    LinkLost,
    LinkUp,
    Packed,
    Predicted,
    RunFailed,
    Sent,
    Ticked,
    Unsendable,
)
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.inference.witness import Witness
from cascade.messages import Answer, ClassScores, Outcome, Question, Tensor
from cascade.release.ladder import GateSpec, Ladder, LadderStage

STAGE = LadderStage(name="small", kind="classes", gate=GateSpec("confidence", 0.8), labels=("no", "yes"))
LADDER = Ladder(task="ripe", release="r1", stages=(STAGE,))


def question(number: int = 1, **more: Any) -> Question:
    said = {
        "id": f"q{number}", "device": "barn.cam1", "stream": "cam", "sequence": number, "task": "ripe", "release": "r1",
        "payload": (Tensor("x", "uint8", (4,), b"abcd"),), "ms_left": 100.0, "keep_ms": 1000.0,
    }  # fmt: skip
    return Question(**said | more)


class Life:
    """A hop and its witness; the test says what happens to both."""

    def __init__(self, question_id: str = "q1", **uplink: Any) -> None:
        self.hop = Hop(HopSettings(node="barn.cam1", tier="edge"), UplinkSettings(**uplink))
        self.witness = Witness(self.hop, question_id)
        self.effects: list[Effect] = []
        self.happens(LadderInstalled(LADDER), 0.0)

    def happens(self, event: Event, now: float) -> None:
        self.effects = self.hop.handle(event, now)
        self.witness.saw(event, self.effects, now)

    def asked(self, now: float, *numbers: int, **more: Any) -> int:
        for number in numbers:
            self.happens(Asked(question(number, **more), "back"), now)
        self.happens(Ticked(), now)
        return next(effect.run for effect in self.effects if isinstance(effect, RunStage))

    @property
    def told(self) -> str:
        return "\n".join(self.witness.moments)


def above(said: str = "yes", **more: Any) -> Answer:
    words = {
        "id": "q1", "device": "barn.cam1", "digest": b"", "stream": "cam", "sequence": 1, "task": "ripe",
        "release": "r1", "outcome": Outcome.ANSWERED, "reason": "sure", "prediction": ClassScores((0.0, 1.0)),
        "label": said, "tier": "fog",
    }  # fmt: skip
    return Answer(**words | more)


def test_the_whole_way_of_a_question_is_told_with_its_times() -> None:
    life = Life(bytes=Allowance(1000.0, 1000.0), joules=Allowance(1.0, 2.0), joules_per_byte=0.001)
    life.happens(LinkUp(), 1.0)
    run = life.asked(2.0, 1, 2)
    life.happens(Predicted(run, (ClassScores((0.4, 0.6)), ClassScores((0.1, 0.9))), ms=1.0), 2.01)
    life.happens(Sent("above", 150, (question().key,)), 2.02)
    life.happens(Answered(above()), 2.05)
    assert life.witness.moments == [
        "+0.00 ms asked with 100 ms to its deadline, and for 1 s after it a better answer is welcome; 4 bytes, "
        "priority 5, durability memory. The way up: link up, breaker closed, 0 of 256 in flight, 1,000 bytes of budget "
        "left, 2 J of budget left.",
        "+10.00 ms stage small ran in a batch of 2, in 1 ms",
        '+10.00 ms decided to climb, because it was not sure enough; the guess here is "yes"',
        "+10.00 ms asked above with 70 ms for it. The way up: link up, breaker closed, 1 of 256 in flight, 876 bytes "
        "of budget left, 1.88 J of budget left.",
        "+20.00 ms went up in a message of 150 bytes",
        '+50.00 ms the hop above said "yes" by fog, because it was sure enough',
        '+50.00 ms given an answer: "yes", because it was sure enough; 50 ms before its deadline',
    ]


def test_a_gate_that_answers_whatever_can_be_read_is_not_said_to_have_been_sure() -> None:
    life = Life()
    always = msgspec.structs.replace(STAGE, gate=GateSpec("always"))
    life.happens(LadderInstalled(Ladder(task="ripe", release="r1", stages=(always,))), 1.0)
    run = life.asked(2.0, 1)
    life.happens(Predicted(run, (ClassScores((0.45, 0.55)),), ms=1.0), 2.01)
    assert "decided to answer, because the last gate answers whatever can be read" in life.told
    assert 'given an answer: "yes", because the last gate answers whatever can be read' in life.told
    assert "sure" not in life.told


def test_hidden_features_in_place_of_the_input_are_told() -> None:
    life = Life()
    life.asked(2.0, 1)
    life.happens(Packed(question().key, 120, 1500), 2.01)
    assert "+10.00 ms its hidden features go up: 120 bytes in place of the 1,500 of the input" in life.told


def test_a_link_that_is_lost_is_told_with_the_provisional_answer_and_the_correction() -> None:
    life = Life()
    life.happens(LinkUp(), 1.0)
    run = life.asked(2.0, 1)
    life.happens(Predicted(run, (ClassScores((0.4, 0.6)),)), 2.01)
    life.happens(LinkLost("silent"), 2.02)
    life.happens(LinkUp(), 2.5)
    life.happens(Answered(above("no")), 2.6)
    life.happens(LinkLost("again"), 3.0)
    assert "+20.00 ms the link above was lost: silent" in life.told
    assert 'given a provisional answer: "yes", because the link to the hop above was down; 80 ms before' in life.told
    assert "The way up: link down, breaker closed, 0 of 256 in flight." in life.told
    assert 'given a correction: "no", because it was sure enough; 500 ms after its deadline' in life.told
    assert "again" not in life.told
    (given,) = life.witness.answers.values()
    assert [answer.provisional for answer in given] == [True, False]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Kept(question().key), "is on disk"),
        (Kept(question().key, False), "could not be written to disk"),
        (Unsendable(question().key, "too_large"), "can't be sent up, because it is larger than a message may be"),
        (Evicted(question(), "back", "spool_full"), "was given up by the spool"),
        (Asked(question(), "other"), "asked again, under the same id"),
        (Asked(question(), "other", restored=True), "read again from the spool"),
        (Answered(above(outcome=Outcome.REFUSED, prediction=None, reason="overloaded", retry_ms=1.0)), "said refused"),
    ],
)
def test_what_else_may_happen_to_a_question_has_words(event: Event, said: str) -> None:
    life = Life()
    life.happens(LinkUp(), 1.0)
    run = life.asked(2.0, 1)
    life.happens(Predicted(run, (ClassScores((0.4, 0.6)),)), 2.01)
    life.happens(event, 2.02)
    assert said in life.told


def test_a_model_that_fails_is_told_with_its_error() -> None:
    life = Life()
    life.happens(RunFailed(life.asked(2.0, 1), "out of memory"), 2.01)
    assert "stage small failed: out of memory" in life.told


def test_a_synced_question_is_told_from_disk_to_disk() -> None:
    life = Life()
    life.happens(Asked(question(), "back", Durability.SYNCED), 2.0)
    life.happens(Kept(question().key), 2.01)
    life.happens(Ticked(), 2.01)
    run = next(effect.run for effect in life.effects if isinstance(effect, RunStage))
    life.happens(Predicted(run, (ClassScores((0.05, 0.95)),)), 2.02)
    assert "given to the spool, and waited for" in life.told
    assert "its answer is recorded before it is given" in life.told


def test_without_an_id_the_last_answers_are_gathered_and_no_more_of_them_than_wanted() -> None:
    life = Life("")
    life.witness = Witness(life.hop, "", most=2)
    run = life.asked(2.0, 1, 2, 3)
    life.happens(Predicted(run, (ClassScores((0.1, 0.9)),) * 3), 2.01)
    assert list(life.witness.answers) == ["q2", "q3"]
    assert life.witness.moments == []
