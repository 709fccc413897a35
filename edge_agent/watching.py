"""A stream with a sensor: its samples go through the watch, and what is worth it becomes a question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cascade.adapters.hop_shell import StageEngine
from cascade.adapters.samples import payload_of
from cascade.adapters.slow_models import Paces, SlowModels
from cascade.errors import BadInput
from cascade.inference.effects import RunStage
from cascade.inference.events import BadSample, Predicted, RunFailed
from cascade.inference.gate import Gate
from cascade.inference.watch import (
    Ask,
    Look,
    Looked,
    Sampled,
    SensorOff,
    SensorOn,
    Watch,
    WatchEffect,
    WatchEvent,
    WatchSettings,
    WatchTicked,
)
from cascade.messages import Payload, Question, Verdict
from cascade.release.ladder import Ladder
from edge_agent.answers import FROM_SENSOR
from edge_agent.inference_loop import InferenceLoop
from edge_agent.sensors import make_sensor
from edge_agent.sensors.sensor import Array, Sample
from edge_agent.settings import StreamTable, WatchTable

log = logging.getLogger(__name__)
CLOSED_WITHIN_S = 2.0
RETRY_S = 5.0
"""After a sensor broke: when it is started again."""


class Waker:
    """The model that looks before there is a question: the first stage of a task's ladder, with its gate.

    In line while it is quick, and in a thread of its own while it is not: samples gather meanwhile.
    """

    def __init__(self, ladder: Ladder, engine: StageEngine, call_from_thread: Callable[[Callable[[], None]], None]):
        self._ladder, self._engine = ladder, engine
        self._stage = ladder.stages[0]
        self._gate = Gate(self._stage)
        self._told: Callable[[bool], None] = lambda something: None
        self._call_from_thread = call_from_thread
        self._slow_models = SlowModels(engine.run, self._ran)
        self._paces = Paces()

    def look(self, payload: Payload, told: Callable[[bool], None]) -> None:
        """`told` hears whether there is something, on the loop's thread. One look at a time."""
        question = Question(
            id="", device="", stream="", sequence=0, task=self._ladder.task, release=self._ladder.release,
            payload=payload, ms_left=0.0,
        )  # fmt: skip
        wanted = RunStage(0, self._ladder.task, self._ladder.release, self._stage.name, (question,))
        if self._paces.slow(wanted):
            self._told = told
            self._slow_models.submit(wanted)
            return
        outcome = self._engine.run(wanted)
        self._note_pace(wanted, outcome)
        told(self._saw_something(outcome))

    async def close(self) -> None:
        await self._slow_models.close(CLOSED_WITHIN_S)

    def _ran(self, wanted: RunStage, outcome: Predicted | RunFailed) -> None:
        def handle() -> None:
            self._note_pace(wanted, outcome)
            self._told(self._saw_something(outcome))

        self._call_from_thread(handle)

    def _note_pace(self, wanted: RunStage, outcome: Predicted | RunFailed) -> None:
        if isinstance(outcome, Predicted):
            self._paces.took(wanted, outcome.ms)

    def _saw_something(self, outcome: Predicted | RunFailed) -> bool:
        """What the gate answers is something. What can't be read is not: a question about it would say no more."""
        if not isinstance(outcome, Predicted) or isinstance(outcome.results[0], BadSample):
            return False
        return self._gate.decide(outcome.results[0]).verdict is Verdict.ANSWER


class SensorWatch:
    """Owns one sensor and its watch. A sensor that another stream's watch wakes begins switched off."""

    def __init__(self, stream: StreamTable, loop: InferenceLoop, names: tuple[str, ...], waker: Waker | None) -> None:
        assert stream.sensor is not None
        self.stream = stream
        self.watch = Watch(_watch_settings(stream.watch))
        self.sensor = make_sensor(stream.name, stream.sensor)
        self._told = False
        self._loop, self._names, self._waker = loop, names, waker
        self._others: Mapping[str, SensorWatch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        """There while the sensor is switched on."""
        self._switching: asyncio.Task[None] | None = None

    @property
    def begins_off(self) -> bool:
        return any(other.watch.settings.wakes == self.stream.name for other in self._others.values())

    async def start(self, watches: list[SensorWatch]) -> None:
        """Raises what can never work, unless the sensor begins switched off: then it is told when it is woken."""
        self._others = {watch.stream.name: watch for watch in watches}
        if not self.begins_off:
            await self.sensor.start(self._emit)
            self._keep_on(started=True)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._switching is not None:
            await asyncio.wait([self._switching])
        await self._switch_off()
        if self._waker is not None:
            await self._waker.close()

    async def ended(self) -> None:
        """When the sensor has nothing more to give; at once if it is switched off."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping])

    def switch(self, on: bool) -> None:
        """By the watch of another stream."""
        before = self._switching

        async def change() -> None:
            if before is not None:
                await asyncio.wait([before])
            if on is (self._keeping is not None):
                return
            log.info("sensor %s is switched %s", self.stream.name, "on" if on else "off")
            if on:
                self._keep_on(started=False)
            else:
                await self._switch_off()

        self._switching = asyncio.create_task(change(), name=f"switch {self.stream.name}")

    def _keep_on(self, *, started: bool) -> None:
        self._keeping = asyncio.create_task(self._kept_on(started), name=f"keep {self.stream.name} on")

    async def _kept_on(self, started: bool) -> None:
        """Until the sensor has come to its end. One that breaks is told, and started again."""
        while True:
            try:
                if not started:
                    await self.sensor.start(self._emit)
                await self.sensor.ended()
                return
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a sensor, the other streams go on
                log.warning("sensor %s broke, it is started again in %g s: %s", self.stream.name, RETRY_S, error)
            started = False
            await self.sensor.stop()
            await asyncio.sleep(RETRY_S)

    async def _switch_off(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        await self.sensor.stop()

    async def _emit(self, sample: Sample) -> None:
        await self._loop.room()
        self._take(Sampled(sample))

    def _take(self, event: WatchEvent) -> None:
        now = self._loop.shell.drive.clock()
        for effect in self.watch.handle(event, now):
            self._perform(effect)
        self._arrange_waking(now)

    def _perform(self, effect: WatchEffect) -> None:
        match effect:
            case Look(samples):
                self._look(samples)
            case Ask(samples):
                self._ask(samples)
            case SensorOn(stream):
                self._others[stream].switch(True)
            case SensorOff(stream):
                self._others[stream].switch(False)

    def _look(self, samples: tuple[Sample, ...]) -> None:
        try:
            payload = self._payload(samples)
        except BadInput as error:
            self._tell(error)
            self._take(Looked(False))
            return
        if self._waker is None:
            self._take(Looked(True))
        else:
            self._waker.look(payload, lambda something: self._take(Looked(something)))

    def _ask(self, samples: tuple[Sample, ...]) -> None:
        name = self.stream.name
        try:
            payload = self._payload(samples)
        except BadInput as error:
            self._loop.streams[name].not_asked += 1
            self._tell(error)
            return
        try:
            self._loop.submit(name, payload, FROM_SENSOR + name)
        except BadInput as error:
            self._tell(error)

    def _tell(self, error: BadInput) -> None:
        if not self._told:
            self._told = True
            log.warning("stream %s: %s (told once, counted always)", self.stream.name, error)

    def _payload(self, samples: tuple[Sample, ...]) -> Payload:
        if len(samples) == 1:
            return payload_of(_named(samples[0].tensors, self._names), self._names)
        try:
            joined = {name: np.concatenate([each.tensors[name] for each in samples]) for name in samples[0].tensors}
        except ValueError as error:
            raise BadInput(f"the samples of a window don't fit together: {error}") from error
        return payload_of(_named(joined, self._names), self._names)

    def _arrange_waking(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.watch.wakes_at is not None:
            delay_s = max(0.0, self.watch.wakes_at - now)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._take, WatchTicked())


def _named(tensors: Mapping[str, Array], names: tuple[str, ...]) -> Mapping[str, Any]:
    """A single array is the model's only input, whatever the sensor calls it."""
    if len(tensors) == 1 and len(names) == 1:
        return {names[0]: next(iter(tensors.values()))}
    return tensors


def _watch_settings(table: WatchTable | None) -> WatchSettings:
    if table is None:
        return WatchSettings()
    return WatchSettings(
        window=table.window,
        step=table.step,
        patience=table.patience,
        cool_down_s=table.cool_down_s,
        pre_roll=table.pre_roll,
        looks=table.wake_task is not None,
        wakes=table.wakes or "",
        awake_s=table.awake_s,
    )
