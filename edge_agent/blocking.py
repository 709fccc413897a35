"""The edge agent for programs without asyncio: `with BlockingEdgeAgent(path) as agent: answer = agent.ask(image)`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from cascade.adapters.samples import Sample
from cascade.adapters.transports.transport import Above
from cascade.inference.accuracy import Label
from cascade.inference.explaining import Explanation
from cascade.inference.health import Health
from cascade.messages import Answer
from edge_agent.agent import EdgeAgent
from edge_agent.answers import Listener
from edge_agent.settings import EdgeSettings

Result = TypeVar("Result")


class BlockingEdgeAgent:
    """An `EdgeAgent` on a loop in a thread of its own. `ask` may be called from any thread, and from many."""

    def __init__(self, settings: EdgeSettings | Path | str, *, above: Callable[[], Above] | None = None) -> None:
        """`above` makes a link that stands in for the one of the settings: called on the agent's loop."""
        self._settings = settings
        self._make_above = above
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edge agent", daemon=True)
        self._agent: EdgeAgent | None = None

    def __enter__(self) -> BlockingEdgeAgent:
        self._thread.start()
        try:
            self._agent = self._call(self._started())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        agent, self._agent = self._agent, None
        try:
            if agent is not None:
                self._call(agent.stop())
        finally:
            self._end_loop()

    def ask(
        self,
        sample: Sample,
        *,
        stream: str = "",
        deadline_ms: float | None = None,
        keep_asking_s: float | None = None,
        priority: int | None = None,
        final: bool = False,
    ) -> Answer:
        """As `EdgeAgent.ask`: the answer to one sample, by its deadline."""
        agent, future = self._running(), Future[Answer]()
        self._loop.call_soon_threadsafe(
            agent.ask_for, future, sample, stream, deadline_ms, keep_asking_s, priority, final
        )
        return future.result()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """As `EdgeAgent.listen`; the listener is called on the agent's thread. Returns how to stop, from any thread."""
        stop = self._call(self._listened(self._running(), listener))
        return lambda: self._call(self._unheard(stop))

    def explain(self, question_id: str) -> Explanation:
        """As `EdgeAgent.explain`."""
        return self._call(self._explained(self._running(), question_id))

    def feedback(self, question_id: str, label: Label) -> bool | None:
        """As `EdgeAgent.feedback`."""
        return self._call(self._told_label(self._running(), question_id, label))

    def health(self) -> Health:
        """As `EdgeAgent.health`."""
        return self._call(self._health(self._running()))

    async def _told_label(self, agent: EdgeAgent, question_id: str, label: Label) -> bool | None:
        return agent.feedback(question_id, label)

    async def _health(self, agent: EdgeAgent) -> Health:
        return agent.health()

    async def _explained(self, agent: EdgeAgent, question_id: str) -> Explanation:
        return agent.explain(question_id)

    async def _started(self) -> EdgeAgent:
        agent = EdgeAgent.from_settings(self._settings, above=self._make_above() if self._make_above else None)
        return await agent.__aenter__()

    async def _listened(self, agent: EdgeAgent, listener: Listener) -> Callable[[], None]:
        return agent.listen(listener)

    async def _unheard(self, stop: Callable[[], None]) -> None:
        stop()

    def _running(self) -> EdgeAgent:
        if self._agent is None:
            raise RuntimeError("ask within `with BlockingEdgeAgent(…) as agent`")
        return self._agent

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        future: Future[Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
