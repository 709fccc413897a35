"""The applications of the demo: each asks one agent by its socket, knows what is right, and keeps the score."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from cascade_cli.demo.digits import Split
from cascade_cli.demo.fleet import JOULES_PER_BYTE
from cascade_cli.local_processes import ProcessEnded

LAST_SHOWN = 8


class Given(NamedTuple):
    """An answer, and what the application knows of it."""

    agent: str
    answer: dict[str, Any]
    right: bool
    ms: float


class Score:
    """What came of the questions of one task."""

    def __init__(self) -> None:
        self.asked = self.answered = self.right = 0
        self.provisional = self.corrected = 0
        self.bytes_up = 0
        self.joules = 0.0
        self.ms: list[float] = []
        self.tiers: Counter[str] = Counter()
        self.last: deque[Given] = deque(maxlen=LAST_SHOWN)

    def first(self, given: Given) -> None:
        """The answer that came by the deadline: what an application that can't wait goes by."""
        self.answered += 1
        self.right += given.right
        self.ms.append(given.ms)
        self.provisional += bool(given.answer["provisional"])

    def final(self, given: Given) -> None:
        trail = given.answer["trail"]
        self.tiers[given.answer.get("tier", "")] += 1
        up = next((step["bytes_up"] for step in trail if step["tier"] == "edge" and step.get("bytes_up")), 0)
        self.bytes_up += up
        self.joules += sum(step.get("joules") or 0.0 for step in trail) + up * JOULES_PER_BYTE
        self.corrected += bool(given.answer["correction"])

    @property
    def accuracy(self) -> float:
        return self.right / self.answered if self.answered else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, at 95 %: honest for few questions and near 100 %."""
        n, z = self.answered, 1.96
        if not n:
            return (0.0, 1.0)
        middle = (self.accuracy + z * z / (2 * n)) / (1 + z * z / n)
        half = z * sqrt(self.accuracy * (1 - self.accuracy) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return (middle - half, middle + half)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Application:
    """Asks one agent about images, one after the other."""

    def __init__(self, agent: str, path: Path, images: Split, heard: Callable[[Given], None]) -> None:
        self.agent = agent
        self._path, self._images, self._heard = path, images, heard
        self._asked: dict[str, tuple[int, float, Score]] = {}
        self._waiting_for_first: dict[str, asyncio.Future[None]] = {}
        self._asks = 0

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self._path))
        self.listening = asyncio.create_task(self._listen(), name=f"answers of {self.agent}")

    async def close(self) -> None:
        self.listening.cancel()
        self._writer.close()

    def check(self) -> None:
        """Raises what ended its listening."""
        if self.listening.done():
            self.listening.result()

    @property
    def open_questions(self) -> int:
        return len(self._asked)

    async def ask(self, stream: str, index: int, score: Score) -> asyncio.Future[None]:
        """Ask about one image. The future is done with its first answer."""
        self._asks += 1
        tag = str(self._asks)
        image = self._images.images[index % len(self._images.images)]
        request = {"stream": stream, "id": tag, "bytes": image.nbytes}
        request["tensors"] = [{"name": "image", "dtype": "uint8", "shape": [8, 8]}]
        score.asked += 1
        self._asked[tag] = (index % len(self._images.labels), time.monotonic(), score)
        future = self._waiting_for_first[tag] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(request).encode() + b"\n" + image.tobytes())
        try:
            await self._writer.drain()
        except ConnectionError:
            raise self._closed() from None
        return future

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            said = json.loads(line)
            if "outcome" in said:
                self._take(said)
        raise self._closed()

    def _closed(self) -> ProcessEnded:
        return ProcessEnded(f"{self.agent} has closed its ask socket")

    def _take(self, answer: dict[str, Any]) -> None:
        tag = answer["tag"]
        if tag not in self._asked:
            return
        index, at, score = self._asked[tag]
        ms = (time.monotonic() - at) * 1000.0
        given = Given(self.agent, answer, answer.get("label") == str(self._images.labels[index]), ms)
        future = self._waiting_for_first.pop(tag, None)
        if future is not None:
            score.first(given)
            future.set_result(None)
        if not answer["provisional"]:
            del self._asked[tag]
            score.final(given)
        score.last.append(given)
        self._heard(given)
