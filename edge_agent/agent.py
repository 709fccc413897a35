"""The edge agent as a library: `async with EdgeAgent.from_settings(path) as agent: answer = await agent.ask(x)`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cascade.adapters.energy.estimate import radio_joules
from cascade.adapters.installing import install_tasks, stage_runner
from cascade.adapters.metrics_relay import metrics_message
from cascade.adapters.node_state import state_folder
from cascade.adapters.samples import Sample, TensorNames, payload_of
from cascade.adapters.settings_file import read_settings
from cascade.adapters.transports.mqtt import MqttAbove
from cascade.adapters.transports.transport import Above
from cascade.errors import BadInput, CascadeError, LinkError
from cascade.inference.accuracy import Label
from cascade.inference.effects import Effect
from cascade.inference.events import Event, LinkLost, LinkUp, Sent
from cascade.inference.explaining import Explanation
from cascade.inference.health import Health, health_of
from cascade.inference.hop import Hop
from cascade.messages import Answer, Question
from cascade.metrics import NOT_ASKED, NOT_TAKEN, RADIO
from cascade.tally import Tally
from edge_agent import parts
from edge_agent.answers import ASKED_HERE, Answers, Listener
from edge_agent.ask_socket import AskSocket
from edge_agent.feedback import Feedback, words_of_tasks
from edge_agent.inference_loop import InferenceLoop
from edge_agent.kept_answers import KeptAnswers
from edge_agent.settings import EdgeSettings
from edge_agent.watches import make_watches
from edge_agent.watching import SensorWatch

log = logging.getLogger(__name__)

OVER = "the agent has stopped: there is no answer any more in this life of it"
METRICS_EVERY_S = 15.0
"""How often the device's counters go to the gateway."""


class EdgeAgent:
    """A device: its models, its streams, and the link to whoever knows better. One asyncio loop owns it."""

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        where: str = "settings",
        above: Above | None = None,
        out: BinaryIO | None = None,
    ) -> None:
        """`above` stands in for the link that the settings name: for tests, and for cascades in one process."""
        self.settings = settings
        self._where = where
        self.name = settings.device.name
        self.tally = Tally("edge")
        folder = state_folder(settings.device.state_dir)
        self._runner = stage_runner(folder, settings.engine)
        self._releases = install_tasks(self._runner, settings.tasks, "edge", where)
        self._names = TensorNames(self._releases)
        self._above = above if above is not None else parts.mqtt_above(settings)
        publisher = self._above if isinstance(self._above, MqttAbove) else None
        self.answers = Answers(settings.streams, publisher, out, KeptAnswers(settings.limits.answers_explained))
        self._feedback = Feedback(
            self.answers.kept, self.tally.count, words_of_tasks(release.ladder for release in self._releases)
        )
        hop, uplink = parts.hop_settings(settings, folder), parts.uplink_settings(settings, self._above)
        self._journal = parts.new_journal(settings, hop, uplink, self.tally)
        self.loop = InferenceLoop(
            self.name,
            Hop(hop, uplink),
            self._runner,
            settings.streams,
            self.answers.hand_over,
            above=self._above,
            spool=parts.spool_maker(settings, folder, self.tally),
            observers=(self.tally, self),
            model_thread=settings.model.thread,
            max_question_bytes=settings.limits.max_question_bytes,
            printer=self.answers.printer,
        )
        self.answers.printed = self.loop.printed
        self._exporter = parts.new_exporter(settings, self.tally, self.idle_s)
        self._socket: AskSocket | None = None
        self._watches: list[SensorWatch] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._linked = asyncio.Event()
        self._over = False

    @classmethod
    def from_settings(
        cls, settings: EdgeSettings | Path | str, *, above: Above | None = None, out: BinaryIO | None = None
    ) -> EdgeAgent:
        """From a settings file, or from settings that were read already. `SettingsError` with all that is wrong."""
        if isinstance(settings, EdgeSettings):
            return cls(settings, above=above, out=out)
        return cls(read_settings(settings, EdgeSettings), where=str(settings), above=above, out=out)

    async def start(self) -> None:
        settings = self.settings
        self._count_what_no_event_says()
        await self.loop.open([release.ladder for release in self._releases])
        if self._exporter is not None:
            self._exporter.open()
        if settings.ask_socket is not None:
            self._socket = self.answers.socket = AskSocket(
                settings.ask_socket,
                settings.asked_streams,
                self.loop,
                self.loop.shell.post,
                lambda back, answer: self.loop.handed_over(answer),
                self.answers.kept,
                self.feedback,
                self.health,
            )
            await self._socket.open()
        self._watches = make_watches(settings.streams, self._releases, self._runner, self.loop, self.tally, self._where)
        for watch in self._watches:
            watch.meet(self._watches)
        for watch in self._watches:
            await watch.start()
        if isinstance(self._above, MqttAbove):
            self._tasks.append(asyncio.create_task(self._send_metrics(self._above), name="metrics to the gateway"))

    def idle_s(self) -> float:
        """For how long the pump, or a model, owes a sign of life. From any thread."""
        return max(self.loop.shell.idle_s(), *[watch.busy_s() for watch in self._watches], 0.0)

    async def stop(self) -> None:
        """What is open stays in the spool where its stream has one, and ends here where it has none."""
        for watch in self._watches:
            await watch.stop()
        if self._socket is not None:
            await self._socket.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.loop.close(self.answers.printer.close)
        self._over = True
        self.answers.give_up(LinkError(OVER))
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)
        self._runner.close()

    async def __aenter__(self) -> EdgeAgent:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def ask(
        self,
        sample: Sample,
        *,
        stream: str = "",
        deadline_ms: float | None = None,
        keep_asking_s: float | None = None,
        priority: int | None = None,
        final: bool = False,
    ) -> Answer:
        """The answer to one sample, by its deadline: perhaps provisional, unless `final` is asked for.

        A sample is an array, or a mapping of tensor names to arrays. A device with one stream needs no name of it.
        """
        question = self._question(sample, stream, deadline_ms, keep_asking_s, priority)
        awaited = self.answers.expect(question.id, final=final)
        try:
            self.loop.ask(question, ASKED_HERE, asyncio.current_task())
            if awaited.there is None:
                return await awaited.wait()
            await self.loop.shell.drive.rest()
            return awaited.there
        finally:
            self.answers.forget(question.id)

    def ask_for(
        self,
        future: ThreadFuture[Answer],
        sample: Sample,
        stream: str,
        deadline_ms: float | None,
        keep_asking_s: float | None,
        priority: int | None,
        final: bool,
    ) -> None:
        """As `ask`, for a caller in another thread who waits for `future`. On the loop's thread."""
        try:
            question = self._question(sample, stream, deadline_ms, keep_asking_s, priority)
        except CascadeError as error:
            future.set_exception(error)
            return
        self.answers.expect(question.id, final=final, future=future)
        future.add_done_callback(lambda done: self.answers.forget(question.id))
        self.loop.ask(question, ASKED_HERE, future)

    def _question(
        self, sample: Sample, stream: str, deadline_ms: float | None, keep_asking_s: float | None, priority: int | None
    ) -> Question:
        if self._over or self.loop.shell.drive.broken is not None:
            raise LinkError(OVER)
        if not stream and len(self.settings.streams) > 1:
            raise BadInput(f"which stream? There are {', '.join(each.name for each in self.settings.streams)}")
        stream = stream or self.settings.streams[0].name
        return self.loop.question(
            stream,
            payload_of(sample, self._names.of(self.loop.task_of(stream))),
            ms_left=deadline_ms,
            keep_ms=None if keep_asking_s is None else keep_asking_s * 1000.0,
            priority=priority,
        )

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear every answer to what `ask` asked: corrections, and those of an earlier life. Returns how to stop."""
        return self.answers.listen(listener)

    def explain(self, question_id: str) -> Explanation:
        """Why its answer is as it is, in sentences. `NotKept` for one that is not among the last that are kept."""
        return self.answers.kept.explain(question_id)

    def feedback(self, question_id: str, label: Label) -> bool | None:
        """What was true of a question: whether its last answer was right, counted as accuracy by the tier that gave it.

        The first label of a question counts. None, and counted as unknown, for one that is not among the last answers
        that are kept. `BadInput` for a label that can't be compared with this kind of answer.
        """
        return self._feedback.note(question_id, label)

    def health(self) -> Health:
        """Whether the guarantee of each task's thresholds stands, with agreement, accuracy and drift, and the link."""
        return health_of(self.loop.shell.hop, self._feedback.accuracies.said)

    async def run_until(self, told: asyncio.Event) -> None:
        """Until it is told to stop, or until every sensor has come to its end and everything open has been answered."""
        waiting = [asyncio.create_task(self.loop.shell.drive.until(told))]
        if self._socket is None and all(stream.sensor for stream in self.settings.streams):
            waiting.append(asyncio.create_task(self._all_ended()))
        ended, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        for task in ended:
            task.result()

    async def _all_ended(self) -> None:
        for watch in self._watches:
            await watch.ended()
        await self.loop.idle()

    def _count_what_no_event_says(self) -> None:
        for name, stream in self.loop.streams.items():
            self.tally.gauge(NOT_ASKED, (name,), partial(getattr, stream, "not_asked"))
        self.tally.gauge(NOT_TAKEN, (), lambda: 0 if self._socket is None else self._socket.dropped_letters)

    def observe(self, event: Event, effects: list[Effect], now: float) -> None:
        """The journal, and the radio's joules: an estimate, by the bytes that went up."""
        if self._journal is not None:
            self._journal.append(now, event)
        if type(event) is LinkUp:
            self._linked.set()
            self.answers.publish_again(self.loop.handed_over)
            log.info("the gateway is there")
        elif type(event) is LinkLost:
            log.warning("no gateway: %s", event.reason)
        elif type(event) is Sent and self.settings.above is not None:
            spent = radio_joules(event.bytes, self.settings.above.budget.joules_per_byte)
            self.tally.count(RADIO, (event.link, spent.energy), spent.joules)

    async def _send_metrics(self, link: MqttAbove) -> None:
        """As soon as there is a link, and from time to time while there is."""
        while True:
            await self._linked.wait()
            if not link.publish_metrics(metrics_message(self.tally)):
                self._linked.clear()
            await asyncio.sleep(METRICS_EVERY_S)
