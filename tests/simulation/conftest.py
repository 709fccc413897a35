"""Fleets for the simulated world: ladders of three tiers, and models whose mistakes are known."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from cascade.adapters.world.fleet import Fleet
from cascade.inference.effects import RunStage
from cascade.inference.events import Predicted
from cascade.messages import ClassScores, Question
from cascade.release.ladder import GateSpec, Ladder, LadderStage

SURE = {"edge": 0.5, "fog": 0.75, "cloud": 1.0}
"""The share of questions that each tier is sure of."""


def ladders(max_batch: int = 32) -> dict[str, tuple[Ladder, ...]]:
    made = {}
    for tier in SURE:
        gate = GateSpec("always") if tier == "cloud" else GateSpec("confidence", 0.8)
        stage = LadderStage(name=tier, kind="classes", gate=gate, labels=("a", "b"), max_batch=max_batch)
        made[tier] = (Ladder(task="task", release="release", stages=(stage,)),)
    return made


def engine(tier: str, wanted: RunStage) -> Predicted:
    results = tuple(_predicted(tier, question) for question in wanted.questions)
    return Predicted(wanted.run, results, ms=2.0 + 0.2 * len(results))


def _predicted(tier: str, question: Question) -> ClassScores:
    luck = blake2b(question.id.encode(), digest_size=4).digest()[0] / 256
    best = 0.95 if luck < SURE[tier] else 0.6
    return ClassScores((best, 1.0 - best))


@pytest.fixture
def make_fleet():
    def make(**settings) -> Fleet:
        usual = {"seed": 1, "devices": 4, "engine": engine, "ladders": ladders()}
        fleet = Fleet(**{**usual, **settings})
        fleet.start()
        return fleet

    return make


@pytest.fixture
def make_ladders():
    return ladders
