"""Questions, answers, and somebody who listens to what a thread posts."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition
from typing import Any, TypeVar

import pytest

from cascade.messages import Answer, Outcome, Question, Tensor, payload_digest

Kind = TypeVar("Kind")


class Heard:
    """Everything that was posted, in order; waits for what is still to come."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._more = Condition()

    def __call__(self, event: Any) -> None:
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def of(self, kind: type[Kind]) -> list[Kind]:
        with self._more:
            return [event for event in self.events if isinstance(event, kind)]

    def wait(self, kind: type[Kind], count: int = 1, within_s: float = 10.0) -> list[Kind]:
        with self._more:
            came = self._more.wait_for(lambda: sum(isinstance(e, kind) for e in self.events) >= count, within_s)
        found = self.of(kind)
        assert came, f"{len(found)} of {count} {kind.__name__} came within {within_s} s: {self.events[-3:]}"
        return found


def _question(number: int, *, size_bytes: int = 64, priority: int = 5, **more: Any) -> Question:
    data = number.to_bytes(8, "little") * (size_bytes // 8)
    payload = (Tensor("input", "uint8", (len(data),), data),)
    return Question(
        **{
            "id": f"q{number}",
            "device": "barn.cam1",
            "stream": "cam",
            "sequence": number,
            "task": "digits",
            "release": "r1",
            "payload": payload,
            "ms_left": 1000.0,
            "keep_ms": 60_000.0,
            "digest": payload_digest(payload),
            "priority": priority,
        }
        | more
    )


def _answer(question: Question, **more: Any) -> Answer:
    return Answer(
        **{
            "id": question.id,
            "device": question.device,
            "digest": question.digest,
            "stream": question.stream,
            "sequence": question.sequence,
            "task": question.task,
            "release": question.release,
            "outcome": Outcome.ANSWERED,
            "reason": "sure",
        }
        | more
    )


def _until(what: Callable[[], Any], within_s: float = 10.0) -> None:
    ends_at = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < ends_at, f"not within {within_s} s"
        time.sleep(0.005)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def question() -> Callable[..., Question]:
    return _question


@pytest.fixture
def answer() -> Callable[..., Answer]:
    return _answer


@pytest.fixture
def until() -> Callable[..., None]:
    return _until
