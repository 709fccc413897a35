"""A link of ours with nothing behind it: asks as often as it is told, and hears the answers.

So that what is measured is the tier above, and not the device: no hop, no model, no spool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.models import TENSOR
from benchmarks.ours import SITE, STREAM, TASK
from cascade.adapters.bundle_folder import open_release
from cascade.adapters.transports.mqtt import MqttAbove
from cascade.adapters.transports.mqtt_settings import MqttSettings
from cascade.adapters.transports.transport import Above
from cascade.inference.events import Answered, Event, LinkUp
from cascade.messages import Answer, Outcome, Payload, Question, Tensor, payload_digest

ANSWER_WITHIN_S = 30.0
Sample = tuple[Payload, bytes]


def samples_of(arrays: Sequence[Any], tensor: str = TENSOR) -> list[Sample]:
    """Payloads with their digests, made once: a device would do this for each question, a tier above never does."""
    made: list[Sample] = []
    for array in arrays:
        payload = (Tensor(tensor, array.dtype.name, array.shape, array.tobytes()),)
        made.append((payload, payload_digest(payload)))
    return made


def release_name(folder: Path) -> str:
    return open_release(folder, "edge").ladder.release


def mqtt_link(device: str, broker_port: int) -> MqttAbove:
    """Of the device `<site>.<device>`."""
    return MqttAbove(MqttSettings(port=broker_port, client_id=f"{SITE}.{device}"), f"{SITE}.{device}")


class LightDevice:
    """Owned by one loop. One `run` at a time."""

    def __init__(self, device: str, above: Above, release: str, samples: Sequence[Sample]) -> None:
        self.device, self._above, self._release, self._samples = f"{SITE}.{device}", above, release, samples
        self._up = asyncio.Event()
        self._number = 0
        self._asked_at: dict[str, float] = {}
        self._left = self._due = 0
        self._waits: list[float] = []
        self._done: asyncio.Future[None] | None = None

    async def open(self) -> None:
        await self._above.open(self._post)
        await asyncio.wait_for(self._up.wait(), ANSWER_WITHIN_S)

    async def close(self) -> None:
        await self._above.close()

    async def run(self, in_flight: int, count: int) -> list[float]:
        """So many at once, each followed by the next; how long each waited."""
        self._done = asyncio.get_running_loop().create_future()
        self._waits, self._left = [], count
        self._ask(min(in_flight, count))
        await asyncio.wait_for(self._done, max(ANSWER_WITHIN_S, count / 100))
        return self._waits

    async def run_for(self, seconds: float, per_s: float, phase: float) -> list[float]:
        """One question at a time: the next at once (`per_s` 0), or so many a second, counted from when each was due:
        a tier that keeps a device waiting is not asked less for it. `phase` is where in its beat the device begins."""
        loop, waits = asyncio.get_running_loop(), list[float]()
        due_at = loop.time() + (phase / per_s if per_s else 0.0)
        ends_at = loop.time() + seconds
        while due_at < ends_at:
            await asyncio.sleep(max(0.0, due_at - loop.time()))
            asked_at = loop.time()
            (waited,) = await self.run(1, 1)
            waits.append(waited + max(0.0, asked_at - due_at))
            due_at = due_at + 1.0 / per_s if per_s else loop.time()
        return waits

    def _post(self, event: Event) -> None:
        if type(event) is Answered:
            self._answered(event.answer)
        elif type(event) is LinkUp:
            self._up.set()

    def _answered(self, answer: Answer) -> None:
        began = self._asked_at.pop(answer.id, None)
        if began is None or self._done is None:
            return
        if answer.outcome is not Outcome.ANSWERED and not self._done.done():
            self._done.set_exception(RuntimeError(f"{answer.outcome}: {answer.reason}"))
        self._waits.append(time.perf_counter() - began)
        if self._left:
            self._due += 1
            if self._due == 1:  # what came in one message is asked about in one turn, as a busy hop would
                asyncio.get_running_loop().call_soon(self._ask_the_due)
        elif not self._asked_at and not self._due and not self._done.done():
            self._done.set_result(None)

    def _ask_the_due(self) -> None:
        due, self._due = min(self._due, self._left), 0
        self._ask(due)

    def _ask(self, count: int) -> None:
        self._left -= count
        self._above.ask([self._question() for _ in range(count)])

    def _question(self) -> Question:
        self._number += 1
        payload, digest = self._samples[self._number % len(self._samples)]
        question_id = f"q{self._number}"
        self._asked_at[question_id] = time.perf_counter()
        return Question(
            id=question_id,
            device=self.device,
            stream=STREAM,
            sequence=self._number,
            task=TASK,
            release=self._release,
            payload=payload,
            digest=digest,
            ms_left=ANSWER_WITHIN_S * 1000.0,
        )
