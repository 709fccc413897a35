"""The loop of a hop that has others below it: memory of answers, and batches of replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.answering_loop import AnsweringLoop
from cascade.adapters.answers_kept import AnswersKept
from cascade.adapters.bundle_folder import open_release
from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.effects import RunStage
from cascade.inference.events import Asked
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.messages import Answer, Key, Question, Tensor

SURE = (0.02, 0.98)


class Below:
    """A link below that the test holds in its hand."""

    def __init__(self) -> None:
        self.replies: list[tuple[str, list[Answer]]] = []
        self.more = asyncio.Event()

    async def open(self, post: Any) -> None:
        self.post = post

    def reply(self, back: str, answers: list[Answer]) -> None:
        self.replies.append((back, answers))
        self.more.set()

    async def close(self) -> None:
        """Nothing to close."""

    async def answers(self, count: int) -> list[Answer]:
        async with asyncio.timeout(5):
            while sum(len(answers) for _, answers in self.replies) < count:
                self.more.clear()
                await self.more.wait()
        return [answer for _, answers in self.replies for answer in answers]


class Counting:
    """A stage runner that counts its runs."""

    def __init__(self, runner: StageRunner) -> None:
        self.runner = runner
        self.batches: list[int] = []

    def run(self, effect: RunStage) -> Any:
        self.batches.append(len(effect.questions))
        return self.runner.run(effect)


@pytest.fixture(params=["never", "always"])
async def cloud(tmp_path: Path, request: pytest.FixtureRequest):
    """With its models in line, and with its models in a thread."""
    runner = StageRunner()
    release = open_release(write_scripted_release(tmp_path), "cloud")
    runner.install(release)
    below, engine = Below(), Counting(runner)
    hop = Hop(HopSettings(node="cloud", tier="cloud"))
    loop = AnsweringLoop(hop, engine, below, AnswersKept(60.0), model_thread=request.param)
    await loop.open([release.ladder])
    below.engine = engine
    yield below
    await loop.close()


def question(id: str = "q1", digest: bytes = b"one") -> Question:
    sample = scripted_sample(SURE, SURE, SURE)
    payload = (Tensor("x", "float32", (6,), sample.tobytes()),)
    return Question(
        id=id, device="barn.cam1", stream="cam", sequence=1, task="task", release="r", payload=payload, digest=digest,
        ms_left=1000.0,
    )  # fmt: skip


async def test_the_same_question_gets_the_same_answer_and_runs_once(cloud):
    cloud.post(Asked(question(), "gateway"))
    (first,) = await cloud.answers(1)
    cloud.post(Asked(question(), "gateway"))
    _, second = await cloud.answers(2)
    assert first == second
    assert cloud.engine.batches == [1]


async def test_the_same_id_with_another_payload_runs_again(cloud):
    cloud.post(Asked(question(), "gateway"))
    await cloud.answers(1)
    cloud.post(Asked(question(digest=b"two"), "gateway"))
    await cloud.answers(2)
    assert cloud.engine.batches == [1, 1]


async def test_what_came_together_runs_together_and_is_answered_together(cloud):
    for number in range(40):
        cloud.post(Asked(question(f"q{number}"), f"gateway{number % 2}"))
    await cloud.answers(40)
    assert cloud.engine.batches == [40]
    assert sorted((back, len(answers)) for back, answers in cloud.replies) == [("gateway0", 20), ("gateway1", 20)]


def test_answers_are_kept_for_so_long_and_so_many():
    now = [0.0]
    kept = AnswersKept(10.0, most=2, clock=lambda: now[0])

    def found(name: str) -> bool:
        told: list[Answer | None] = []
        kept.recall(Key("d", name, b""), told.append)
        return told[0] is not None

    done: list[None] = []
    for name in ("a", "b", "c"):
        kept.remember(Key("d", name, b""), object(), lambda: done.append(None))
    assert [found(name) for name in ("a", "b", "c")] == [False, True, True]
    assert len(done) == 3
    now[0] = 10.0
    assert not found("c")
    kept.remember(Key("d", "e", b""), object(), lambda: None)
    assert len(kept) == 1


class FarMemory(AnswersKept):
    """Says that it has an answer only when it is let."""

    at_once = False

    def __init__(self) -> None:
        super().__init__(60.0)
        self.asked_to: list[Any] = []

    def remember(self, key: Key, answer: Answer, done: Callable[[], None]) -> None:
        self.asked_to.append(lambda: super(FarMemory, self).remember(key, answer, done))


async def test_with_a_memory_across_a_network_an_answer_is_recorded_before_it_is_given(tmp_path: Path):
    runner, below, memory = StageRunner(), Below(), FarMemory()
    release = open_release(write_scripted_release(tmp_path), "cloud")
    runner.install(release)
    loop = AnsweringLoop(Hop(HopSettings(node="cloud", tier="cloud", remembers=True)), runner, below, memory)
    await loop.open([release.ladder])
    below.post(Asked(question(), "gateway"))
    async with asyncio.timeout(10.0):
        while not memory.asked_to:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert below.replies == []
    memory.asked_to.pop()()
    await below.answers(1)
    await loop.close()
