"""Models in a thread beside the pump: they are seen when they hang, and keep nobody from stopping."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from cascade.adapters import hop_shell
from cascade.adapters.hop_shell import HopShell
from cascade.adapters.slow_models import INLINE_MOST_MS, QUICK_RUNS_TO_RETURN, Paces
from cascade.inference.effects import RunStage
from cascade.inference.events import Asked, LadderInstalled, Predicted
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.messages import Answer, ClassScores, Question
from cascade.release.ladder import GateSpec, Ladder, LadderStage

STAGE = LadderStage(name="only", kind="classes", gate=GateSpec("always"), labels=("no", "yes"), max_batch=1)
LADDER = Ladder(task="task", release="r1", stages=(STAGE,))


class Bench:
    """A shell around a model that waits to be let go."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.now = 100.0
        self.answers: list[Answer] = []
        self.shell = HopShell(
            Hop(HopSettings(node="s.d", tier="edge")),
            self,
            reply=lambda reply: self.answers.append(reply.answer),
            model_thread="always",
            clock=lambda: self.now,
        )

    def run(self, effect: RunStage) -> Predicted:
        self.began.set()
        assert self.go_on.wait(20.0)
        return Predicted(effect.run, tuple(ClassScores((0.1, 0.9)) for _ in effect.questions))

    def ask(self, id: str) -> None:
        question = Question(
            id=id, device="s.d", stream="x", sequence=1, task="task", release="r1", payload=(), ms_left=1e6
        )
        self.shell.post(Asked(question, "app"))

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(10.0):
            while not what():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    made.shell.post(LadderInstalled(LADDER))
    await made.shell.start()
    yield made
    made.go_on.set()
    await made.shell.stop()


async def test_a_model_that_hangs_is_seen_from_outside(bench):
    bench.ask("q1")
    await bench.until(bench.began.is_set)
    bench.now += 30.0
    assert bench.shell.idle_s() >= 30.0
    bench.go_on.set()
    await bench.until(lambda: bench.answers)
    await bench.until(lambda: bench.shell.idle_s() == 0.0)


async def test_told_to_stop_the_model_ends_what_it_runs_and_begins_nothing_more(bench):
    bench.ask("q1")
    bench.ask("q2")
    await bench.until(bench.began.is_set)
    stopping = asyncio.create_task(bench.shell.stop())
    await asyncio.sleep(0)
    bench.go_on.set()
    await stopping
    assert bench.shell.drive.broken is None
    assert [answer.id for answer in bench.answers] == ["q1"]


async def test_a_model_that_hangs_keeps_nobody_from_stopping(bench, monkeypatch, caplog):
    monkeypatch.setattr(hop_shell, "MODEL_ENDS_WITHIN_S", 0.05)
    bench.ask("q1")
    await bench.until(bench.began.is_set)
    async with asyncio.timeout(5.0):
        await bench.shell.stop()
    assert "left behind" in caplog.text


def test_a_stage_returns_from_the_thread_when_its_slow_call_was_an_accident() -> None:
    paces, wanted = Paces(), RunStage(1, "task", "r1", "only", ())
    paces.took(wanted, INLINE_MOST_MS + 1.0)
    assert paces.slow(wanted)
    for _ in range(QUICK_RUNS_TO_RETURN):
        assert paces.slow(wanted)
        paces.took(wanted, 1.0)
    assert not paces.slow(wanted)


def test_a_stage_that_is_slow_now_and_then_stays_in_the_thread() -> None:
    paces, wanted = Paces(), RunStage(1, "task", "r1", "only", ())
    for _ in range(4):
        for _ in range(QUICK_RUNS_TO_RETURN - 1):
            paces.took(wanted, 1.0)
        paces.took(wanted, INLINE_MOST_MS + 1.0)
        assert paces.slow(wanted)
