"""Replays a data set through the hops that run on devices, in a simulated world: their gates, codec and links are real,
what the models say was recorded, and time is what links and models take, so that nothing waits.

A model's call takes what its median call took when it was recorded here, or what the settings say. No other time
passes: queues of sockets, brokers and busy machines are measured by `--processes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from cascade.adapters.world.fleet import Fleet
from cascade.adapters.world.link import Weather
from cascade.adapters.world.models import ReleaseModels
from cascade.adapters.world.node import Engine
from cascade.errors import IllegalTransition
from cascade.inference.effects import RunStage
from cascade.inference.events import Asked, Event, Predicted, RunFailed
from cascade.inference.recordings import StageRecord
from cascade.messages import Answer, Energy, Key, Question
from cascade.release.bundle import TIERS
from cascade.wire.content import compressed
from cascade_cli.evaluate.recorded import Place
from cascade_cli.evaluate.replayed import Told
from cascade_cli.evaluate.samples import DataSet
from cascade_cli.evaluate.settings import Evaluation
from cascade_cli.evaluate.systems import System

AGE_MS = 1e-3
"""Of a sample when it is asked about. In the field it is never 0, which would not be in a message at all."""
PATIENCE_S = 60.0
"""Of the world's time, beyond what a question may take: then it would be lost, which must not be."""
LIFE = "0" * 10
"""As long as what agents begin their ids with, so that messages are as long as in the field."""

Watch = Callable[[str, Event, float], None]
"""Told what happens to each hop: `(node, event, now)`."""


class RecordedModels:
    """An `Engine` of the world that says what the models said."""

    def __init__(self, stages: Mapping[Place, StageRecord], data: DataSet, settings: Evaluation) -> None:
        self._stages = dict(stages)
        self._ms = {place: _call_ms(stage, settings) for place, stage in stages.items()}
        rows: dict[bytes, int] = {}
        for index, digest in enumerate(data.digests):
            rows.setdefault(digest, index)
        self._rows = rows
        self._energy = {place: Energy(stage.energy) for place, stage in stages.items()}

    def __call__(self, tier: str, wanted: RunStage) -> Predicted | RunFailed:
        place: Place = (tier, wanted.stage)  # type: ignore[assignment]  # a node's tier is one of the three
        stage = self._stages[place]
        rows = [self._rows[question.digest] for question in wanted.questions]
        joules = float(np.nansum(stage.joules[rows]))
        results = tuple(stage.prediction(row) for row in rows)
        return Predicted(wanted.run, results, self._ms[place] * len(rows), joules, self._energy[place])


class SegmentedModels:
    """An engine for models in segments, which hand hidden features on, and up: those are run, not recalled. What a call
    takes is what it took when it was recorded, so that a busy machine changes no answer."""

    def __init__(self, models: ReleaseModels, stages: Mapping[Place, StageRecord], settings: Evaluation) -> None:
        self._models = models
        self._ms = {place: _call_ms(stage, settings) for place, stage in stages.items()}

    def __call__(self, tier: str, wanted: RunStage) -> Predicted | RunFailed:
        outcome = self._models(tier, wanted)
        if isinstance(outcome, RunFailed):
            return outcome
        place: Place = (tier, wanted.stage)  # type: ignore[assignment]  # a node's tier is one of the three
        return msgspec.structs.replace(outcome, ms=self._ms[place] * len(wanted.questions))

    def sendable(self, tier: str, question: Question, stage: str) -> Question | None:
        return self._models.sendable(tier, question, stage)

    def free(self, tier: str, key: Key) -> None:
        self._models.free(tier, key)


def _call_ms(stage: StageRecord, settings: Evaluation) -> float:
    table = settings.tier(stage.tier)
    return table.model_ms or float(np.median(stage.ms)) * table.slower


def weather_of(settings: Evaluation) -> dict[str, Weather]:
    """The link that leads up to each tier."""
    found = {}
    for tier in TIERS[1:]:
        link = settings.link_to(tier)
        found[tier] = Weather(
            latency_s=link.latency_ms / 1000.0,
            jitter_s=link.jitter_ms / 1000.0,
            loss=link.loss,
            bytes_per_s=link.bytes_per_s,
            notice_s=0.0,
        )
    return found


class _Heard(NamedTuple):
    first: Answer
    ms: float


class InMemory:
    """One system, asked about the whole data set."""

    def __init__(self, system: System, engine: Engine, data: DataSet, settings: Evaluation) -> None:
        self._data, self._settings, self._system = data, settings, system
        weather = weather_of(settings)
        uplink = settings.above.uplink_settings()
        asking = msgspec.structs.replace(settings.above, budget=type(settings.above.budget)())
        self.fleet = Fleet(
            seed=settings.seed,
            devices=settings.questions.devices,
            engine=engine,
            ladders=system.ladders,
            weather_below=weather["fog"],
            weather_above=weather["cloud"],
            uplink=uplink,
            gateway_uplink=asking.uplink_settings(),
            topmost=system.topmost,
            prepare=self._prepared,
            hidden=engine if isinstance(engine, SegmentedModels) else None,
        )
        self._first: dict[str, _Heard] = {}
        self._told: dict[str, Told] = {}
        self._asked_at: dict[str, float] = {}
        self.fleet.application.hear = self._hear

    def watch(self, told: Watch) -> None:
        """Before `run`: to be told of all that happens."""
        for node in (self.fleet.cloud, self.fleet.gateway, *self.fleet.devices):
            name = node.settings.node
            node.on_event = lambda event, effects, now, name=name: told(name, event, now)  # type: ignore[misc]

    def run(self, progress: Callable[[int, int], None] = lambda done, of: None) -> list[Told]:
        clock = self.fleet.clock
        self.fleet.start()
        trips = (self._settings.links.fog.latency_ms, self._settings.links.cloud.latency_ms)
        clock.run_until(2.0 * max(trips) / 1000.0)
        began_at, per_s = clock.now, self._settings.questions.per_s
        for index in range(len(self._data)):
            if per_s:
                clock.run_until(began_at + index / per_s)
            self._ask(index)
            if not per_s:
                self._wait(index + 1)
            progress(index + 1, len(self._data))
        self._wait(len(self._data))
        return [self._told[_id(index)] for index in range(len(self._data))]

    def _wait(self, asked: int) -> None:
        """Until all that were asked have their final answers."""
        questions = self._settings.questions
        most_s = questions.deadline_ms / 1000.0 + questions.keep_asking_s + PATIENCE_S
        if not self.fleet.clock.run_while(lambda: len(self._told) < asked, most_s):
            lost = self.fleet.application.open[:3]
            raise IllegalTransition(f"no final answer to {lost} within {most_s:g} s of the world's time")

    def _ask(self, index: int) -> None:
        questions, release = self._settings.questions, self._system.any_release
        node = self.fleet.devices[index % questions.devices]
        question = Question(
            id=_id(index),
            device=node.settings.node,
            stream="stream",
            sequence=index + 1,
            task=release.manifest.task,
            release=release.id,
            payload=self._data.payload(index),
            digest=self._data.digests[index],
            ms_left=questions.deadline_ms,
            age_ms=AGE_MS,
            keep_ms=questions.keep_asking_s * 1000.0,
        )
        self._asked_at[question.id] = self.fleet.clock.now
        self.fleet.application.accept(question)
        node.post(Asked(question, "application"))

    def _hear(self, answer: Answer) -> None:
        ms = (self.fleet.clock.now - self._asked_at[answer.id]) * 1000.0
        first = self._first.setdefault(answer.id, _Heard(answer, ms))
        if not answer.provisional:
            self._told[answer.id] = Told(first.first, first.ms, answer)
            self.fleet.application.forget(answer.id)

    def _prepared(self, question: Question) -> Question:
        payload = compressed(question.payload, self._settings.questions.encoding)
        return msgspec.structs.replace(question, payload=payload)


def _id(index: int) -> str:
    return f"{LIFE}-{index + 1}"
