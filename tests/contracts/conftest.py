"""What every transport is held to the same contract with: a table of links, and ears at both ends.

A transport joins by a file `links_<name>.py` beside this one, with `LINKS: dict[str, LinkEntry]`: its name, then
(factory, marks). A factory takes the test's folder and is an async context manager that gives a `Line` (see below).
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

import pytest

from cascade.adapters.transports.transport import Above, Below
from cascade.inference.events import Asked, Event
from cascade.messages import Answer, ClassScores, Outcome, Question, Tensor, payload_digest

WITHIN_S = 15.0
Kind = TypeVar("Kind")


class Line(Protocol):
    """A link under test: two ends, not yet open, and what happens between them."""

    above: Above
    below: Below
    device: str
    """For whom `above` asks."""
    dead_after_s: float

    async def cut(self) -> None:
        """Nothing passes any more."""

    async def restore(self) -> None: ...

    def another(self) -> tuple[Above, str]:
        """A second asker at the same answerer, and for whom it asks."""

    async def rubbish(self) -> None:
        """A third party, which was let in, sends a message that nobody can read."""


LinkEntry = tuple[Callable[[Path], AbstractAsyncContextManager[Line]], Sequence[pytest.MarkDecorator]]


def _modules() -> Iterator[ModuleType]:
    for path in sorted(Path(__file__).parent.glob("links_*.py")):
        spec = importlib.util.spec_from_file_location(f"contracts_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def _links() -> Iterable[Any]:
    for module in _modules():
        for name, (factory, marks) in module.LINKS.items():
            yield pytest.param(factory, id=name, marks=marks)


class Ear:
    """An inbox that remembers everything, and can be waited at."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._heard = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._heard.set()

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[Kind], count: int = 1, within_s: float = WITHIN_S) -> list[Kind]:
        """All events of this kind, when there are so many."""
        async with asyncio.timeout(within_s):
            while len(self.all(kind)) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.all(kind)


class AnsweringEar(Ear):
    """A hop that answers everything at once: with its device's name as the label."""

    def __init__(self, below: Below) -> None:
        super().__init__()
        self._below = below

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if isinstance(event, Asked):
            asyncio.get_running_loop().call_soon(self._below.reply, event.back, [answered(event.question)])


def answered(question: Question) -> Answer:
    return Answer(
        id=question.id, device=question.device, digest=question.digest, stream=question.stream,
        sequence=question.sequence, task=question.task, release=question.release, outcome=Outcome.ANSWERED,
        reason="sure", prediction=ClassScores((0.25, 0.75)), label=question.device, tier="cloud",
    )  # fmt: skip


def asked_by(device: str, count: int = 1, size: int = 100, first: int = 0) -> list[Question]:
    questions = []
    for number in range(first, first + count):
        payload = (Tensor("x", "uint8", (size,), number.to_bytes(4, "little") * (size // 4)),)
        questions.append(
            Question(
                id=f"q{number}", device=device, stream="s", sequence=number, task="t", release="r", payload=payload,
                ms_left=30_000.0, digest=payload_digest(payload),
            )
        )  # fmt: skip
    return questions


@pytest.fixture(params=list(_links()))
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    async with request.param(tmp_path) as made:
        yield made
        await made.above.close()
        await made.below.close()


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def answering(line: Line) -> AnsweringEar:
    return AnsweringEar(line.below)


@pytest.fixture(name="asked_by")
def _asked_by() -> Callable[..., list[Question]]:
    return asked_by


@pytest.fixture(name="new_ear")
def _new_ear() -> type[Ear]:
    return Ear
