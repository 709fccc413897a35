"""A model in segments in the shells that processes run: models in line or in a thread, messages as they travel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cascade.adapters.answering_loop import AnsweringLoop
from cascade.adapters.answers_kept import AnswersKept
from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.adapters.hop_shell import HopShell
from cascade.adapters.stage_runner import StageRunner
from cascade.adapters.transports.memory import MemoryExchange
from cascade.inference.effects import Reply
from cascade.inference.events import Asked, LadderInstalled, LinkUp
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, Outcome, Question, Tensor, payload_digest
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, SentSpec, StageGate, StageSpec, stage_digest
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Dequantise, Quantise

WIDTH, EIGHT_BITS = 300, (Quantise(scale=1 / 254, dtype="uint8"),)
IMAGE = InputSpec(tensor="image", shape=(WIDTH,))


def stage(name: str, spec: InputSpec, **more) -> StageSpec:
    output = OutputSpec(kind="classes", tensor="y")
    return StageSpec(name=name, file=name, format="scripted", inputs=(spec,), output=output, **more)


def write(folder: Path, tier, stages, models) -> BundleManifest:
    manifest = BundleManifest(format=1, name=tier, task="t", tier=tier, stages=stages, files={})
    scripts = {name: msgspec.json.encode({"script": "echo"} | script) for name, script in models.items()}
    return write_bundle(folder / tier, manifest, scripts).manifest


def write_cascade(folder: Path, continuation: bool) -> None:
    last = stage(
        "exit2",
        InputSpec(tensor="h", shape=(6,), segment="exit1"),
        sends=(SentSpec(output="h", shape=(4,), features=EIGHT_BITS),),
    )
    edge = write(
        folder,
        "edge",
        (stage("exit1", IMAGE), last),
        {
            "exit1": {"inputs": {"x": [WIDTH]}, "outputs": {"y": [2], "h": [6]}},
            "exit2": {"inputs": {"x": [6]}, "outputs": {"y": [2], "h": [4]}},
        },
    )
    rest = InputSpec(
        tensor="h",
        shape=(4,),
        dtype="uint8",
        continues=stage_digest(edge.stages[1], edge),
        features=(Dequantise(scale=1 / 254),),
    )
    above = (stage("whole", IMAGE), stage("rest", rest))[: 2 if continuation else 1]
    models = {
        "whole": {"inputs": {"x": [WIDTH]}, "outputs": {"y": [2]}, "at": 4},
        "rest": {"inputs": {"x": [4]}, "outputs": {"y": [2]}},
    }
    write(folder, "cloud", above, {each.name: models[each.name] for each in above})
    gates = [StageGate(tier="edge", stage=name, gate=GateSpec("confidence", 0.8)) for name in ("exit1", "exit2")]
    gates += [StageGate(tier="cloud", stage=each.name, gate=GateSpec("always")) for each in above]
    write_release(folder, "r", "t", gates)


class Device:
    """The shell of a device, and what it was told."""

    def __init__(self, folder: Path, exchange: MemoryExchange, model_thread) -> None:
        self.runner = StageRunner()
        self.ladder = self.runner.install(open_release(folder, "edge"))
        self.answers: dict[str, asyncio.Future[Answer]] = {}
        self.up = asyncio.Event()
        hop = Hop(HopSettings(node="a.b", tier="edge"), UplinkSettings())
        self.shell = HopShell(
            hop,
            self.runner,
            reply=self._reply,
            above=exchange.above("a.b"),
            observers=(self,),
            model_thread=model_thread,
        )
        self.shell.post(LadderInstalled(self.ladder))

    def observe(self, event, effects, now) -> None:
        if isinstance(event, LinkUp):
            self.up.set()

    def _reply(self, reply: Reply) -> None:
        self.answers[reply.answer.id].set_result(reply.answer)

    async def ask(self, id: str, *numbers: float) -> Answer:
        told = np.concatenate([numbers, np.random.default_rng(0).random(WIDTH - len(numbers))]).astype(np.float32)
        payload = (Tensor("image", "float32", (WIDTH,), told.tobytes()),)
        self.answers[id] = asyncio.get_running_loop().create_future()
        question = Question(
            id=id, device="a.b", stream="s", sequence=1, task="t", release=self.ladder.release, payload=payload,
            digest=payload_digest(payload), ms_left=5000.0,
        )  # fmt: skip
        self.shell.post(Asked(question, ""))
        return await asyncio.wait_for(self.answers[id], 10.0)


@pytest.fixture(params=["never", "always"])
async def cascade(tmp_path: Path, request: pytest.FixtureRequest):
    """Made and started by `await cascade(continuation)`, stopped afterwards."""
    exchange, runner, running = MemoryExchange(), StageRunner(), []

    async def started(continuation: bool = True) -> Device:
        write_cascade(tmp_path, continuation)
        ladder = runner.install(open_release(tmp_path, "cloud"))
        hop = Hop(HopSettings(node="cloud", tier="cloud"))
        loop = AnsweringLoop(hop, runner, exchange.below, AnswersKept(60.0), model_thread=request.param)
        await loop.open([ladder])
        device = Device(tmp_path, exchange, request.param)
        await device.shell.start()
        running.extend((device.shell.stop, loop.close))
        await asyncio.wait_for(device.up.wait(), 10.0)
        return device

    yield started
    for stop in running:
        await stop()


HARD = (0.5, 0.5, 0.5, 0.5, 0.0, 1.0)


async def test_the_cloud_goes_on_from_hidden_features(cascade):
    device = await cascade()
    answer = await device.ask("q1", *HARD)
    assert (answer.outcome, answer.tier) == (Outcome.ANSWERED, "cloud")
    assert [(step.stage, step.sent) for step in answer.trail] == [("exit1", ""), ("exit2", "hidden"), ("rest", "")]
    assert 0 < answer.trail[1].bytes_up < 400


async def test_a_cloud_that_lacks_the_rest_gets_the_input(cascade):
    device = await cascade(continuation=False)
    answer = await device.ask("q1", *HARD)
    assert [(step.stage, step.sent) for step in answer.trail] == [
        ("exit1", ""), ("exit2", "hidden, input"), ("whole", ""),
    ]  # fmt: skip
    assert answer.trail[1].bytes_up > 4 * WIDTH


async def test_many_at_once_are_answered_each_its_own_and_nothing_is_held(cascade):
    device = await cascade()
    easy, hard, harder = (0.0, 1.0), (0.5, 0.5, 1.0, 0.0), HARD
    asked = [(f"q{number}", (easy, hard, harder)[number % 3]) for number in range(60)]
    answers = await asyncio.gather(*(device.ask(id, *numbers) for id, numbers in asked))
    assert [answer.trail[-1].stage for answer in answers] == ["exit1", "exit2", "rest"] * 20
    assert (len(device.runner.hidden), device.runner.hidden.bytes) == (0, 0)
