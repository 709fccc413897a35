"""A real hop through hours of trouble: its books balance, and its journal puts another one through the same."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest

from cascade.adapters.journal import read_journal, replayed
from cascade.adapters.journal_writer import JournalWriter
from cascade.books import books
from cascade.inference.effects import AskAbove, Effect, Keep, Remember, RunStage
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
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, ClassScores, Energy, Outcome, Question, Tensor
from cascade.release.ladder import GateSpec, Ladder, LadderStage
from cascade.tally import Tally

LADDER = Ladder(
    task="animal",
    release="r1",
    stages=(
        LadderStage(name="small", kind="classes", gate=GateSpec("confidence", 0.8, ("none",)), labels=("fox", "none")),
    ),
)


def hop() -> Hop:
    settings = HopSettings(
        node="barn.cam1", tier="edge", audit_share=0.2, seed=b"seed", max_open=50, max_keep_ms=4000.0, remembers=True
    )
    return Hop(settings, UplinkSettings())


class Trouble:
    """A shell and a world around it, by dice: stages fail, disks fill, answers are late or never come."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.above: list[Question] = []

    def befalls(self) -> Event:
        dice = self.dice
        if self.above and dice.random() < 0.2:
            return Answered(self._answer(self.above.pop(dice.randrange(len(self.above)))))
        return dice.choice([self._asked(), self._asked(), self._asked(), LinkUp(), LinkLost("silent"), Ticked()])

    def _asked(self) -> Asked:
        dice = self.dice
        payload = (Tensor("x", "uint8", (50,), bytes([dice.randrange(256)]) * 50),)
        asked = Question(
            id=f"q{dice.randrange(400)}", device="barn.cam1", stream="gate", sequence=1, task="animal", release="r1",
            payload=payload, ms_left=dice.choice([0.0, 50.0, 500.0]), keep_ms=dice.choice([0.0, 5000.0]),
            priority=dice.randrange(10), audit=dice.random() < 0.05,
        )  # fmt: skip
        return Asked(asked, dice.choice("ab"), dice.choice(list(Durability)))

    def _answer(self, to: Question) -> Answer:
        return Answer(
            id=to.id, device=to.device, digest=to.digest, stream=to.stream, sequence=1, task=to.task,
            release=to.release, outcome=self.dice.choice(list(Outcome)), reason="said",
            prediction=ClassScores((0.9, 0.1)), label="fox", tier="cloud", provisional=self.dice.random() < 0.2,
            retry_ms=self.dice.choice([None, 10.0]),
        )  # fmt: skip

    def done(self, effect: Effect) -> list[Event]:
        if isinstance(effect, RunStage):
            return [self._ran(effect)]
        if isinstance(effect, Keep):
            return [Kept(effect.question.key, self.dice.random() < 0.9)]
        if isinstance(effect, Remember):
            return [Remembered(effect.key)]
        if isinstance(effect, AskAbove):
            self.above.append(effect.question)
            return [Sent("above", 100, (effect.question.key,))]
        return []

    def _ran(self, effect: RunStage) -> Event:
        if self.dice.random() < 0.1:
            return RunFailed(effect.run, "out_of_memory")
        scores = [self.dice.random() for _ in effect.questions]
        results = tuple(BadSample("shape") if p < 0.05 else ClassScores((p, 1 - p)) for p in scores)
        return Predicted(effect.run, results, 2.0, 0.1, Energy.ESTIMATED)


@pytest.mark.parametrize("seed", range(3))
def test_the_books_of_a_hop_in_trouble_balance_and_its_journal_replays_bit_for_bit(tmp_path, seed):
    machine, tally, trouble, now = hop(), Tally("edge"), Trouble(seed), 0.0
    journal = JournalWriter(tmp_path / "journal", node="barn.cam1", tier="edge")
    inbox, given = deque[Event]([LadderInstalled(LADDER), LinkUp()]), []
    for _ in range(1500):
        now += trouble.dice.random() * 0.02
        inbox.append(trouble.befalls())
        inbox.append(Ticked())
        while inbox:
            event = inbox.popleft()
            effects = machine.handle(event, now)
            tally.observe(event, effects, now)
            journal.append(now, event)
            given.append(effects)
            inbox.extend(event for effect in effects for event in trouble.done(effect))
        assert books(tally.snapshot()).balanced
    journal.close()
    assert journal.lost == 0
    again = [effects for _, _, effects in replayed(hop(), read_journal(tmp_path / "journal"))]
    assert _bare(again) == _bare(given)


def _bare(given: list[list[Effect]]) -> list[list[str]]:
    """Payloads were left out of the journal; whatever else was decided must be the same."""
    return [[_without_bytes(repr(effect)) for effect in effects] for effects in given]


def _without_bytes(effect: str) -> str:
    head, *tails = effect.split("data=b")
    return head + "".join(tail.partition(", encoding=")[2] for tail in tails)
