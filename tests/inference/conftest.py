"""A hop on the bench: events in, effects out, no shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cascade.inference.effects import Effect, Reply, RunStage
from cascade.inference.events import Asked, Durability, Event, LadderInstalled, LinkUp, Predicted, Ticked
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, ClassScores, Outcome, Prediction, Question, Tensor
from cascade.release.ladder import GateSpec, Ladder, LadderStage

LABELS = ("silence", "yes", "no")


def stage(name: str = "small", gate: str = "confidence", threshold: float | None = 0.8, **more: Any) -> LadderStage:
    drop = more.pop("drop", ())
    return LadderStage(name=name, kind="classes", gate=GateSpec(gate, threshold, drop), labels=LABELS, **more)


class Bench:
    """One hop, and a clock that the test moves."""

    def __init__(self, *stages: LadderStage, uplink: UplinkSettings | None = None, up: bool = True, **settings: Any):
        self.hop = Hop(HopSettings(**{"node": "site.dev", "tier": "edge", **settings}), uplink)
        self.now = 100.0
        self.seen: list[Effect] = []
        if stages:
            self.happen(LadderInstalled(Ladder(task="kws", release="r1", stages=stages)))
        if uplink is not None and up:
            self.happen(LinkUp())

    def happen(self, event: Event) -> list[Effect]:
        effects = self.hop.handle(event, self.now)
        self.seen += effects
        return effects

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        self.now += seconds
        return self.happen(Ticked())

    def question(self, id: str = "q1", **fields: Any) -> Question:
        usual: dict[str, Any] = {
            "id": id, "device": "site.dev", "stream": "mic", "sequence": 1, "task": "kws", "release": "r1",
            "payload": (Tensor("x", "uint8", (2,), b"ab"),), "ms_left": 1000.0,
        }  # fmt: skip
        return Question(**{**usual, **fields})

    def ask(self, id: str = "q1", durability: Durability = Durability.MEMORY, **fields: Any) -> list[Effect]:
        return self.happen(Asked(self.question(id, **fields), "app", durability))

    def predict(self, *results: Prediction | Any, seconds: float = 0.0) -> list[Effect]:
        """Let the batch that waits run, with these results."""
        run = only(self.tick(seconds), RunStage)
        return self.happen(Predicted(run.run, tuple(results), ms=1.0))

    def answer_above(self, id: str = "q1", **fields: Any) -> Answer:
        usual: dict[str, Any] = {
            "id": id, "device": "site.dev", "digest": b"", "stream": "mic", "sequence": 1, "task": "kws",
            "release": "r1", "outcome": Outcome.ANSWERED, "reason": "sure", "prediction": scores(1, 0.99),
            "label": "yes", "tier": "fog",
        }  # fmt: skip
        return Answer(**{**usual, **fields})

    def replies(self) -> list[Answer]:
        return [effect.answer for effect in self.seen if isinstance(effect, Reply)]


def scores(best: int, confidence: float) -> ClassScores:
    rest = (1.0 - confidence) / 2
    return ClassScores(tuple(confidence if index == best else rest for index in range(3)))


def only(effects: list[Effect], kind: type[Any]) -> Any:
    found = [effect for effect in effects if isinstance(effect, kind)]
    assert len(found) == 1, f"expected one {kind.__name__} in {effects}"
    return found[0]


def without_trail(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, trail=())


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def make_stage() -> Callable[..., LadderStage]:
    return stage


@pytest.fixture
def class_scores() -> Callable[[int, float], ClassScores]:
    return scores


@pytest.fixture
def the_only() -> Callable[[list[Effect], type[Any]], Any]:
    return only
