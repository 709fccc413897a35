"""The agent as a library, in a whole cascade in memory: what it is asked it answers, also when it is alone."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.adapters.answering_loop import AnsweringLoop
from cascade.adapters.answers_kept import AnswersKept
from cascade.adapters.bundle_folder import open_release
from cascade.adapters.journal import read_journal, replayed
from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.adapters.settings_file import settings_from
from cascade.adapters.stage_runner import StageRunner
from cascade.adapters.transports.memory import MemoryExchange
from cascade.books import books
from cascade.errors import BadInput, LinkError, NotKept, SettingsError
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Answer, Outcome
from cascade.metrics import NOT_ASKED, NOTHING_THERE
from edge_agent import BlockingEdgeAgent, EdgeAgent
from edge_agent.answers import Answers
from edge_agent.settings import EdgeSettings

SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
IDLE = {
    "kind": "command",
    "argv": [sys.executable, "-c", "import time; time.sleep(60)"],
    "shape": [6],
    "dtype": "float32",
}


class Cascade:
    """A gateway and a cloud in memory, and the settings of a device below them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.release = write_scripted_release(folder / "release", drop=("no",))
        self.site, self.wide = MemoryExchange(), MemoryExchange()
        self.loops: list[AnsweringLoop] = []

    async def start(self) -> Cascade:
        await self._add("cloud", self.wide.below, None)
        await self._add("fog", self.site.below, self.wide.above("barn.gateway"))
        return self

    async def _add(self, tier: str, below: Any, above: Any) -> None:
        runner = StageRunner()
        release = open_release(self.release, tier)
        runner.install(release)
        hop = Hop(HopSettings(node=tier, tier=tier), UplinkSettings() if above else None)
        loop = AnsweringLoop(hop, runner, below, AnswersKept(60.0), above=above)
        await loop.open([release.ladder])
        self.loops.append(loop)

    async def stop(self) -> None:
        for loop in reversed(self.loops):
            await loop.close()

    def settings(self, stream: dict[str, Any] | None = None, **more: Any) -> EdgeSettings:
        document = {
            "device": {"name": "barn.cam1", "state_dir": str(self.folder / "state")},
            "tasks": [{"name": "task", "release": str(self.release)}],
            "streams": [{"name": "cam", "task": "task", "durability": "memory", "sensor": IDLE, **(stream or {})}],
            **more,
        }
        return settings_from(document, EdgeSettings, "edge.toml", self.folder)

    def agent(self, stream: dict[str, Any] | None = None, out: Any = None, **more: Any) -> EdgeAgent:
        return EdgeAgent.from_settings(self.settings(stream, **more), above=self.site.above("barn.cam1"), out=out)


@pytest.fixture
async def cascade(tmp_path: Path) -> AsyncIterator[Cascade]:
    made = await Cascade(tmp_path).start()
    yield made
    await made.stop()


async def linked(agent: EdgeAgent) -> None:
    async with asyncio.timeout(5):
        while not agent.loop.shell.hop.uplink.up:  # noqa: ASYNC110 - the hop has nobody to tell
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("scores", "tier"), [((SURE,) * 3, "edge"), ((UNSURE, SURE, SURE), "fog"), ((UNSURE, UNSURE, SURE), "cloud")]
)
async def test_each_tier_answers_what_it_is_sure_of(cascade, scores, tier):
    async with cascade.agent() as agent:
        await linked(agent)
        answer = await agent.ask(scripted_sample(*scores))
    assert (answer.tier, answer.label, answer.provisional) == (tier, "yes", False)


async def test_many_at_once_each_get_their_own_answer(cascade):
    async with cascade.agent() as agent:
        await linked(agent)
        wanted = [(SURE, SURE), (UNSURE, SURE), (UNSURE, UNSURE)] * 100
        answers = await asyncio.gather(*[agent.ask(scripted_sample(*pair, SURE)) for pair in wanted])
    assert [answer.tier for answer in answers] == ["edge", "fog", "cloud"] * 100
    assert len({answer.id for answer in answers}) == 300


async def test_a_device_without_a_link_answers_alone(tmp_path):
    device = Cascade(tmp_path)
    async with EdgeAgent.from_settings(device.settings()) as agent:
        answer = await agent.ask(scripted_sample(UNSURE, SURE, SURE))
    assert (answer.outcome, answer.tier, answer.reason) == (Outcome.ANSWERED, "edge", "nobody_above")


async def test_a_cut_link_gives_a_provisional_answer_and_a_correction_when_it_heals(cascade):
    heard: list[Answer] = []
    async with cascade.agent({"keep_asking_s": 60}) as agent:
        await linked(agent)
        agent.listen(heard.append)
        cascade.site.cut()
        first = await agent.ask(scripted_sample(UNSURE, SURE, SURE))
        assert (first.provisional, first.tier, first.reason) == (True, "edge", "link_down")
        cascade.site.restore()
        async with asyncio.timeout(5):
            while not any(answer.correction for answer in heard):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    assert [(answer.provisional, answer.tier) for answer in heard] == [(True, "edge"), (False, "fog")]


async def test_a_device_waits_for_a_correction_for_as_long_as_its_stream_says(cascade):
    async with cascade.agent({"keep_asking_s": 86_400}) as agent:
        await linked(agent)
        cascade.site.cut()
        assert (await agent.ask(scripted_sample(UNSURE, SURE, SURE))).provisional
        hop = agent.loop.shell.hop
        async with asyncio.timeout(5):
            while hop.room.alarms.next_at < agent.loop.shell.drive.clock() + 80_000:  # noqa: ASYNC110 - its deadline first
                await asyncio.sleep(0.01)
        assert len(hop.room) == 1


async def test_a_final_answer_can_be_waited_for(cascade):
    async with cascade.agent({"keep_asking_s": 60}) as agent:
        await linked(agent)
        cascade.site.cut()
        asking = asyncio.create_task(agent.ask(scripted_sample(UNSURE, SURE, SURE), final=True))
        await asyncio.sleep(0)
        cascade.site.restore()
        answer = await asking
    assert (answer.provisional, answer.tier) == (False, "fog")


async def test_a_listener_that_raises_harms_nobody(cascade):
    async with cascade.agent() as agent:
        agent.listen(lambda answer: 1 / 0)
        assert (await agent.ask(scripted_sample(SURE, SURE, SURE))).label == "yes"
        assert (await agent.ask(scripted_sample(SURE, SURE, SURE))).label == "yes"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sample": np.zeros(6, np.float32), "stream": "radar"}, "no stream 'radar'; there are cam"),
        ({"sample": np.zeros(6, np.complex64)}, "tensor x: found complex64"),
        ({"sample": np.zeros(200_000, np.float32)}, "800000 bytes in one question; at most 262144"),
    ],
)
async def test_what_could_never_be_asked_is_refused_with_the_reason(cascade, asked, said):
    async with cascade.agent() as agent:
        with pytest.raises(BadInput, match=said):
            await agent.ask(**asked)


@pytest.mark.parametrize("sample", [np.zeros(5, np.float32), np.full(6, np.nan, np.float32), {"y": np.zeros(6)}])
async def test_a_sample_that_does_not_fit_the_model_is_refused_and_others_are_not(cascade, sample):
    async with cascade.agent() as agent:
        bad, good = await asyncio.gather(agent.ask(sample), agent.ask(scripted_sample(SURE, SURE, SURE)))
    assert (bad.outcome, bad.reason) == (Outcome.REFUSED, "bad_input")
    assert good.outcome is Outcome.ANSWERED


async def test_a_stream_asks_no_faster_than_it_may(cascade):
    async with cascade.agent({"max_per_s": 2}) as agent:
        for _ in range(2):
            await agent.ask(scripted_sample(SURE, SURE, SURE))
        with pytest.raises(BadInput, match="2 times a second"):
            await agent.ask(scripted_sample(SURE, SURE, SURE))


async def test_samples_of_which_no_question_was_made_are_counted(cascade, tmp_path):
    samples = [(0.98, 0.02)] * 3 + [SURE] * 2
    np.savez(tmp_path / "samples.npz", x=np.stack([scripted_sample(each, SURE, SURE) for each in samples]))
    sensor = {"kind": "replay", "path": str(tmp_path / "samples.npz")}
    out = io.BytesIO()
    async with cascade.agent({"sensor": sensor, "max_per_s": 1, "watch": {"wake_task": "task"}}, out) as agent:
        await agent.run_until(asyncio.Event())
        with pytest.raises(BadInput):
            await agent.ask(scripted_sample(SURE, SURE, SURE))
        said = {reading.row: reading.value for reading in agent.tally.snapshot() if "cam" in reading.labels}
    assert (said[NOTHING_THERE], said[NOT_ASKED], len(out.getvalue().splitlines())) == (3, 2, 1)


async def test_what_a_gate_drops_is_told_as_dropped(cascade):
    async with cascade.agent() as agent:
        answer = await agent.ask(scripted_sample((0.95, 0.05), SURE, SURE))
    assert (answer.outcome, answer.label) == (Outcome.DROPPED, "no")


async def test_a_sensor_asks_and_its_answers_are_lines_of_json(cascade, tmp_path):
    rows = np.stack([scripted_sample(SURE, SURE, SURE), scripted_sample(UNSURE, SURE, SURE)])
    np.savez(tmp_path / "samples.npz", x=rows)
    out = io.BytesIO()
    agent = cascade.agent({"sensor": {"kind": "replay", "path": str(tmp_path / "samples.npz")}}, out)
    async with agent:
        async with asyncio.timeout(10):
            await agent.run_until(asyncio.Event())
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert sorted(line["sequence"] for line in lines) == [1, 2]
    assert {line["outcome"] for line in lines} == {"answered"}


@pytest.mark.parametrize("delay_ms", [0, 15], ids=["a quick model", "a slow model"])
@pytest.mark.parametrize(("seen", "asked", "woken"), [((0.98, 0.02), 0, False), (SURE, 3, True)])
async def test_a_cheap_sensor_wakes_an_expensive_one(cascade, tmp_path, seen, asked, woken, delay_ms):
    write_scripted_release(cascade.release, drop=("no",), faults={"edge": {"delay_ms": delay_ms}})
    np.savez(tmp_path / "cheap.npz", x=np.stack([scripted_sample(seen, SURE, SURE)] * 3))
    np.savez(tmp_path / "camera.npz", x=np.stack([scripted_sample(SURE, SURE, SURE)]))
    cheap = {
        "name": "cheap", "sensor": {"kind": "replay", "path": str(tmp_path / "cheap.npz"), "rate_hz": 20},
        "watch": {"wake_task": "task", "wakes": "camera", "awake_s": 5},
    }  # fmt: skip
    camera = {"name": "camera", "sensor": {"kind": "replay", "path": str(tmp_path / "camera.npz")}}
    streams = [{"task": "task", "durability": "memory", **stream} for stream in (cheap, camera)]
    out = Out()
    async with cascade.agent(out=out, streams=streams) as agent:
        await agent.run_until(asyncio.Event())
        if woken:
            await out.has(b'"camera"')
    asking = [json.loads(line)["stream"] for line in out.getvalue().splitlines()]
    assert (asking.count("cheap"), "camera" in asking) == (asked, woken)


class Out(io.BytesIO):
    """Standard output, and whoever waits for something on it. Written by a thread of the agent's."""

    def __init__(self) -> None:
        super().__init__()
        self._loop, self._more = asyncio.get_running_loop(), asyncio.Event()

    def write(self, data: Any) -> int:
        written = super().write(data)
        self._loop.call_soon_threadsafe(self._more.set)
        return written

    async def has(self, what: bytes) -> None:
        async with asyncio.timeout(10):
            while what not in self.getvalue():
                self._more.clear()
                await self._more.wait()


async def test_its_books_balance(cascade):
    async with cascade.agent() as agent:
        await linked(agent)
        await asyncio.gather(*[agent.ask(scripted_sample(UNSURE, SURE, SURE)) for _ in range(20)])
        await agent.ask(np.zeros(5, np.float32))
        balance = books(agent.tally.snapshot())
    assert balance.balanced
    assert (balance.answered, balance.refused) == (20, 1)


async def test_it_says_why_an_answer_is_as_it_is(cascade):
    async with cascade.agent({"keep_asking_s": 60}, limits={"answers_explained": 4}) as agent:
        await linked(agent)
        answer = await agent.ask(scripted_sample(UNSURE, SURE, SURE), final=True)
        explained = agent.explain(answer.id)
        with pytest.raises(NotKept, match="no answer to question never"):
            agent.explain("never")
        for _ in range(4):
            await agent.ask(scripted_sample(SURE, SURE, SURE))
        with pytest.raises(NotKept, match="the last 4 of at most 4"):
            agent.explain(answer.id)
    assert [hop.split(",")[0] for hop in explained.hops] == ["edge", "fog"]
    assert explained.ending == ('The answer is "yes", by the fog tier, because it was sure enough.',)


def test_programs_without_asyncio_ask_why_too(tmp_path):
    with BlockingEdgeAgent(Cascade(tmp_path).settings()) as agent:
        answer = agent.ask(scripted_sample(UNSURE, SURE, SURE))
        assert "there is no hop above to ask" in agent.explain(answer.id).ending[0]


async def test_its_journal_replays_to_the_same_decisions(cascade, tmp_path):
    path = tmp_path / "journal"
    given: list[Any] = []
    async with cascade.agent(journal={"path": str(path)}) as agent:
        await linked(agent)
        agent.loop.shell.drive.observers += (_Noted(given).observe,)
        await asyncio.gather(*[agent.ask(scripted_sample(UNSURE, SURE, SURE)) for _ in range(10)])
    journal = read_journal(path)
    hop = Hop(HopSettings(**journal.header.rebuild["hop"] | {"seed": journal.header.seed}), UplinkSettings())
    again = [effects for _, _, effects in replayed(hop, journal)]
    told = [effect.answer for effects in given for effect in effects if hasattr(effect, "answer")]
    assert [effect.answer for effects in again for effect in effects if hasattr(effect, "answer")] == told


class _Noted:
    def __init__(self, into: list[Any]) -> None:
        self.into = into

    def observe(self, event: Any, effects: list[Any], now: float) -> None:
        self.into.append(effects)


def test_programs_without_asyncio_ask_too(tmp_path):
    settings = Cascade(tmp_path).settings()
    with BlockingEdgeAgent(settings) as agent:
        assert agent.ask(scripted_sample(SURE, SURE, SURE)).label == "yes"
        with pytest.raises(BadInput):
            agent.ask(scripted_sample(SURE, SURE, SURE), stream="radar")


def test_programs_without_asyncio_listen_until_they_stop_listening(tmp_path):
    heard: list[Answer] = []
    with BlockingEdgeAgent(Cascade(tmp_path).settings()) as agent:
        stop = agent.listen(heard.append)
        agent.ask(scripted_sample(SURE, SURE, SURE))
        stop()
        agent.ask(scripted_sample(SURE, SURE, SURE))
    assert len(heard) == 1


def test_a_program_that_waits_in_another_thread_when_the_agent_stops_is_told(tmp_path):
    async_cascade = Cascade(tmp_path)
    above = MemoryExchange().above("barn.cam1")
    settings = async_cascade.settings({"keep_asking_s": 60})
    with ThreadPoolExecutor(1) as threads:
        with BlockingEdgeAgent(settings, above=lambda: above) as agent:
            first = threading.Event()
            agent.listen(lambda answer: first.set())
            asking = threads.submit(agent.ask, scripted_sample(UNSURE, SURE, SURE), final=True)
            assert first.wait(10)
        with pytest.raises(LinkError, match="the agent has stopped"):
            asking.result(10)


def test_a_release_that_is_not_for_the_task_is_a_mistake_in_the_settings(tmp_path):
    device = Cascade(tmp_path)
    write_scripted_release(tmp_path / "other", task="birds")
    settings = device.settings(tasks=[{"name": "task", "release": str(tmp_path / "other")}])
    with pytest.raises(SettingsError, match=r"tasks\[0\].release: is for task 'birds', expected 'task'"):
        EdgeAgent.from_settings(settings)


@pytest.mark.parametrize("durability", ["memory", "batched"])
async def test_a_sensor_goes_on_however_long_the_link_is_dead(cascade, durability):
    """Questions that had their answer and hope for a better one fill the memory: they hold no sensor back."""
    lines = "import sys, struct; sys.stdout.buffer.write(struct.pack('<6f', *[0.45, 0.55] * 3) * 60)"
    sensor = IDLE | {"argv": [sys.executable, "-c", lines]}
    out = io.BytesIO()
    stream = {"sensor": sensor, "keep_asking_s": 3600.0, "durability": durability, "deadline_ms": 50.0}
    settings = cascade.settings(stream, limits={"max_open": 8})
    async with EdgeAgent.from_settings(settings, above=MemoryExchange().above("barn.cam1"), out=out):
        async with asyncio.timeout(10.0):
            while len({json.loads(line)["id"] for line in out.getvalue().splitlines()}) < 60:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert {json.loads(line)["outcome"] for line in out.getvalue().splitlines()} == {"answered"}


class Broker:
    """Publishes, when the test lets it."""

    def __init__(self) -> None:
        self.there = False
        self.published: list[Answer] = []

    def publish_answers(self, answers: Any) -> bool:
        if self.there:
            self.published += answers
        return self.there


def test_what_the_broker_could_not_take_is_published_when_it_is_back(tmp_path):
    streams = Cascade(tmp_path).settings(above={"host": "nowhere"}, stream={"answers": "mqtt"}).streams
    broker, handed_over = Broker(), []
    answers = Answers(streams, broker)
    final = Answer(
        id="q1", device="barn.cam1", digest=b"", stream="cam", sequence=1, task="task", release="r",
        outcome=Outcome.ANSWERED, reason="sure",
    )  # fmt: skip
    assert not answers.hand_over("sensor:cam", final)
    answers.publish_again(handed_over.append)
    assert handed_over == []
    broker.there = True
    answers.publish_again(handed_over.append)
    assert handed_over == broker.published == [final]


def test_a_line_is_handed_over_when_it_is_printed_and_a_closed_output_prints_nothing(tmp_path):
    streams = Cascade(tmp_path).settings().streams
    final = Answer(
        id="q1", device="barn.cam1", digest=b"", stream="cam", sequence=1, task="task", release="r",
        outcome=Outcome.ANSWERED, reason="sure",
    )  # fmt: skip
    for closed in (False, True):
        out, printed = io.BytesIO(), []
        answers = Answers(streams, None, out)
        answers.printed = printed.append
        if closed:
            out.close()
        assert not answers.hand_over("sensor:cam", final)
        answers.printer.close()
        assert printed == ([] if closed else [final])


@pytest.mark.slow
async def test_a_reader_that_stops_reading_stops_nobody(cascade, tmp_path):
    """The sensor is held back; programs that ask are answered."""
    reading, writing = os.pipe()
    np.savez(tmp_path / "samples.npz", x=np.stack([scripted_sample(SURE, SURE, SURE)]))
    sensor = {"kind": "replay", "path": str(tmp_path / "samples.npz"), "repeat": True}
    streams = [
        {"name": "flood", "task": "task", "durability": "memory", "sensor": sensor},
        {"name": "cam", "task": "task", "durability": "memory"},
    ]
    with os.fdopen(writing, "wb", buffering=0) as out:
        agent = cascade.agent(out=out, streams=streams)
        async with agent:
            async with asyncio.timeout(10):
                while not agent.answers.printer.crowded:  # noqa: ASYNC110 - nobody tells when
                    await asyncio.sleep(0.01)
                answer = await agent.ask(scripted_sample(SURE, SURE, SURE), stream="cam")
            asked = agent.loop.streams["flood"].sequence
            assert answer.label == "yes"
            assert asked < 3000
            os.set_blocking(reading, False)
            while await asyncio.to_thread(_drained, reading):
                pass
    os.close(reading)


def _drained(reading: int) -> bool:
    try:
        return bool(os.read(reading, 1 << 16))
    except BlockingIOError:
        return False
