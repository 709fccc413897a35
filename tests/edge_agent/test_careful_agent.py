"""An agent whose guarantee is in doubt: it says so, asks more often, and its journal replays all of it."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.adapters.answering_loop import AnsweringLoop
from cascade.adapters.answers_kept import AnswersKept
from cascade.adapters.bundle_folder import open_bundle, open_release, write_release
from cascade.adapters.journal import read_journal, replayed
from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.adapters.settings_file import settings_from
from cascade.adapters.stage_runner import StageRunner
from cascade.adapters.transports.memory import MemoryExchange
from cascade.errors import BundleRejected
from cascade.inference.careful import Standing
from cascade.inference.effects import Reply
from cascade.inference.hop import Hop
from cascade.inference.references import shape_of
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer
from cascade.release.ladder import Care
from cascade.release.promise import ModelAbove, Promise, gates_digest
from cascade.release.reference import Reference
from edge_agent import BlockingEdgeAgent, EdgeAgent
from edge_agent.ask_client import AskClient, AskRefused
from edge_agent.settings import EdgeSettings

SURE = (0.02, 0.98)
IDLE = {"kind": "command", "argv": [sys.executable, "-c", "import time; time.sleep(60)"], "shape": [6],
        "dtype": "float32"}  # fmt: skip


def recorded_confidences(count: int, seed: int) -> Any:
    return np.clip(np.random.default_rng(seed).beta(30, 1, count), 0.51, 1.0)


def guarded_release(folder: Path, *, models: tuple[ModelAbove, ...] | None = None) -> Path:
    """A scripted release with a promise and a reference, as `cascade calibrate` writes them."""
    write_scripted_release(folder)
    manifest = open_release(folder, "edge").manifest
    digests = {tier: open_bundle(folder / tier).digest for tier in ("edge", "fog", "cloud")}
    ladders = {tier: open_release(folder, tier).ladder for tier in ("edge", "fog", "cloud")}
    found = tuple(
        ModelAbove(tier=tier, stage=stage.name, model=stage.model)
        for tier, ladder in ladders.items()
        for stage in ladder.stages
    )
    promise = Promise(
        targets=("at most 3 % wrong",), confidence=0.9, method="test", assumes="test", samples=1000,
        ladder=digests, models=found if models is None else models, gates_digest=gates_digest(manifest.gates),
    )  # fmt: skip
    reference = Reference(
        tier="edge", stage="edge-model", bundle=digests["edge"], gate="confidence",
        confidence=shape_of(recorded_confidences(1000, 0)), agreement=0.95,
    )  # fmt: skip
    care = Care(step=0.5, calm=256)
    write_release(folder, "scripted", "task", manifest.gates, promise, references=(reference,), care=care)
    return folder


class Cascade:
    """A cloud in memory, and a device below it."""

    def __init__(self, folder: Path, **release: Any) -> None:
        self.folder = folder
        self.release = guarded_release(folder / "release", **release)
        self.wide = MemoryExchange()

    async def start(self) -> None:
        runner = StageRunner()
        release = open_release(self.release, "cloud")
        runner.install(release)
        self.cloud = AnsweringLoop(
            Hop(HopSettings(node="cloud", tier="cloud")), runner, self.wide.below, AnswersKept(60.0)
        )
        await self.cloud.open([release.ladder])

    def settings(self, stream: dict[str, Any] | None = None, **more: Any) -> EdgeSettings:
        document = {
            "device": {"name": "barn.cam1", "state_dir": str(self.folder / "state")},
            "tasks": [{"name": "task", "release": str(self.release)}],
            "streams": [
                {"name": "cam", "task": "task", "durability": "memory", "sensor": IDLE, "deadline_ms": 5000}
                | (stream or {})
            ],
            "journal": {"path": str(self.folder / "journal")},
            **more,
        }
        return settings_from(document, EdgeSettings, "edge.toml", self.folder)

    def agent(self) -> EdgeAgent:
        return EdgeAgent.from_settings(self.settings(), above=self.wide.above("barn.cam1"))


async def linked(agent: EdgeAgent) -> None:
    async with asyncio.timeout(5):
        while not agent.loop.shell.hop.uplink.up:  # noqa: ASYNC110 - the hop has nobody to tell
            await asyncio.sleep(0)


async def asked(agent: EdgeAgent, confidences: Any) -> list[Any]:
    return [await agent.ask(scripted_sample((1.0 - each, each), SURE, SURE)) for each in confidences.tolist()]


@pytest.fixture
async def cascade(tmp_path):
    made = Cascade(tmp_path)
    await made.start()
    yield made
    await made.cloud.close()


async def test_drift_makes_an_agent_careful_and_it_says_so_once(cascade, caplog):
    caplog.set_level(logging.INFO)
    async with cascade.agent() as agent:
        await linked(agent)
        await asked(agent, recorded_confidences(200, 1))
        assert agent.health().tasks["task"].standing == Standing.STEADY
        assert agent.health().fine
        drifted = np.random.default_rng(2).uniform(0.8, 1.0, 250)
        await asked(agent, drifted)
        task = agent.health().tasks["task"]
        assert (task.standing, task.doubts, task.caution) == ("careful", ("confidence_drift",), 1.0)
        assert not agent.health().fine
        answers = await asked(agent, np.full(5, 0.95))
        assert {answer.tier for answer in answers} == {"cloud"}
        assert {answer.trail[0].reason for answer in answers} == {"careful"}
        assert "the guarantee of its threshold is in doubt" in " ".join(str(agent.explain(answers[0].id)).split())
        shown = {(r.row.name, r.labels[1:]): r.value for r in agent.tally.snapshot()}
    assert shown["cascade_guarantee_standing", ("task", "careful")] == 1.0
    assert shown["cascade_guarantee_standing", ("task", "steady")] == 0.0
    assert shown["cascade_guarantee_doubt", ("task", "confidence_drift")] == 1.0
    assert shown["cascade_drift_index", ("task", "confidence")] > 0.25
    assert shown["cascade_caution_ratio", ("task",)] == 1.0
    assert len([line for line in caplog.messages if "careful" in line]) == 1


async def test_the_journal_of_a_careful_agent_replays_bit_for_bit(cascade):
    given: list[Answer] = []
    async with cascade.agent() as agent:
        agent.listen(given.append)
        await linked(agent)
        await asked(agent, np.random.default_rng(2).uniform(0.8, 1.0, 300))
        await asked(agent, recorded_confidences(100, 3))
    journal = read_journal(cascade.folder / "journal")
    built = journal.header.rebuild
    hop = Hop(msgspec.convert(built["hop"], HopSettings), msgspec.convert(built["uplink"], UplinkSettings))
    again = [each.answer for _, _, effects in replayed(hop, journal) for each in effects if isinstance(each, Reply)]
    assert again == given
    assert "careful" in {answer.trail[0].reason for answer in again}
    assert hop.vigils.by_task["task"].caution == 1.0


async def test_another_model_above_makes_an_agent_careful(tmp_path):
    other = ModelAbove(tier="cloud", stage="cloud-model", model="0123456789ab")
    cascade = Cascade(tmp_path, models=(other,))
    await cascade.start()
    async with cascade.agent() as agent:
        await linked(agent)
        await asked(agent, np.full(1, 0.6))
        task = agent.health().tasks["task"]
    await cascade.cloud.close()
    assert (task.standing, task.doubts) == ("careful", ("other_model_above",))


def test_a_reference_of_other_bytes_is_refused_at_load(tmp_path):
    folder = guarded_release(tmp_path / "release")
    manifest = open_release(folder, "edge").manifest
    wrong = tuple(Reference(**{**_fields(each), "bundle": "0" * 64}) for each in manifest.references)
    with pytest.raises(BundleRejected, match="of another bundle: calibrate again"):
        write_release(folder, "scripted", "task", manifest.gates, references=wrong)


def _fields(reference: Reference) -> dict[str, Any]:
    return {name: getattr(reference, name) for name in reference.__struct_fields__}


async def test_labels_and_health_are_told_to_programs(cascade):
    async with cascade.agent() as agent:
        await linked(agent)
        answers = await asked(agent, np.full(4, 0.99))
        labels = ("yes", "yes", "yes", "no")
        right = [agent.feedback(each.id, label) for each, label in zip(answers, labels, strict=True)]
        assert right == [True, True, True, False]
        assert agent.feedback("nobody-1", "yes") is None
        accuracy = agent.health().tasks["task"].accuracy["edge"]
    assert accuracy.share == pytest.approx(0.75, abs=0.01)
    assert accuracy.low < 0.75 < accuracy.high


def test_programs_without_asyncio_give_labels_too(tmp_path):
    guarded = Cascade(tmp_path)
    with BlockingEdgeAgent(guarded.settings()) as agent:
        answer = agent.ask(scripted_sample(SURE, SURE, SURE))
        assert agent.feedback(answer.id, "yes") is True
        assert agent.health().tasks["task"].standing == "unguarded"  # it is alone: nobody to ask more often


async def test_a_stream_may_want_its_guess_early(cascade, tmp_path):
    settings = cascade.settings({"provisional_at": 0.01, "deadline_ms": 2000})
    async with EdgeAgent.from_settings(settings, above=cascade.wide.above("barn.cam1")) as agent:
        heard: list[Answer] = []
        agent.listen(heard.append)
        await linked(agent)
        held = cascade.cloud.shell._perform
        asks: list[Any] = []
        cascade.cloud.shell.drive._perform = asks.append
        first = await agent.ask(scripted_sample((0.4, 0.6), SURE, SURE))
        cascade.cloud.shell.drive._perform = held
        for effects in asks:
            held(effects)
        async with asyncio.timeout(5):
            while len(heard) < 2:  # noqa: ASYNC110 - the listener has nobody to tell
                await asyncio.sleep(0.001)
    assert (first.reason, first.provisional) == ("hedged", True)
    assert (heard[-1].tier, heard[-1].correction) == ("cloud", True)


async def test_programs_at_the_ask_socket_give_labels_and_ask_how_it_is(cascade):
    path = cascade.folder / "ask.sock"
    settings = cascade.settings(ask_socket={"path": str(path), "streams": ["cam"]})

    def program() -> tuple[Any, Any, Any]:
        with AskClient(path) as client:
            question_id = client.submit("cam", {"x": scripted_sample(SURE, SURE, SURE)})
            client.next_answer()
            right = client.feedback(question_id, "yes"), client.feedback("nobody", "yes")
            health = client.health()
            again = client.submit("cam", {"x": scripted_sample(SURE, SURE, SURE)})
            client.next_answer()
            with pytest.raises(AskRefused, match="expected a word"):
                client.feedback(again, 7.5)
        return *right, health

    async with EdgeAgent.from_settings(settings, above=cascade.wide.above("barn.cam1")) as agent:
        await linked(agent)
        right, unknown, health = await asyncio.to_thread(program)
    assert (right, unknown) == (True, None)
    assert health["tasks"]["task"]["standing"] == "unknown"
    assert health["tasks"]["task"]["accuracy"]["edge"]["share"] == 1.0
