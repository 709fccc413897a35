"""A stream with a sensor: its samples go through the watch, and what is worth it becomes a question."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from cascade.adapters.samples import payload_of
from cascade.errors import BadInput
from cascade.inference.sensor_energy import SensorEnergy
from cascade.inference.triggers import Trigger
from cascade.inference.watch import Watch
from cascade.inference.watch_words import (
    Ask,
    Interrupted,
    Look,
    Sampled,
    SensorOff,
    SensorOn,
    Tensors,
    WatchEffect,
    WatchEvent,
    WatchSettings,
    WatchTicked,
)
from edge_agent.answers import FROM_SENSOR
from edge_agent.inference_loop import InferenceLoop
from edge_agent.sensors import make_sensor
from edge_agent.sensors.sensor import Sample
from edge_agent.settings import StreamTable
from edge_agent.waker import Waker

log = logging.getLogger(__name__)
RETRY_S = 5.0
"""After a sensor broke: when it is started again."""
BAD_SAMPLES = {
    "not_finite": "has a number that is not finite",
    "misfit": "is of another shape or type than those before, or its trigger can't hear it",
    "flat": "doesn't vary, or is the one before again: is the sensor muted, covered or stuck?",
}


class SensorWatch:
    """Owns one sensor and its watch. A sensor that another stream's watch wakes begins switched off."""

    def __init__(
        self,
        stream: StreamTable,
        settings: WatchSettings,
        loop: InferenceLoop,
        names: tuple[str, ...],
        waker: Waker | None,
        stage: str = "",
    ) -> None:
        """`names` are the tensors of the task's model, and `stage` is where its questions enter the ladder."""
        assert stream.sensor is not None
        self.stream = stream
        trigger = stream.watch.trigger if stream.watch is not None else None
        self.watch = Watch(settings, Trigger(trigger) if trigger else None, waker.looks if waker else None)
        self.sensor = make_sensor(stream.name, stream.sensor)
        self.energy = SensorEnergy(stream.sensor.watts_on, stream.sensor.watts_off)
        self._told: set[str] = set()
        self._bad = 0
        """Samples so far that were no good."""
        self._loop, self._names, self._waker, self._stage = loop, names, waker, stage
        self._clock = loop.shell.drive.clock
        self._others: Mapping[str, SensorWatch] = {}
        self._events: deque[WatchEvent] = deque()
        self._handling = False
        self._looked = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        """There while the sensor is switched on."""
        self._switching: asyncio.Task[None] | None = None
        self._woken_by: set[str] = set()
        """Streams that want this sensor on now: it sleeps when none of them does."""
        self._over = False

    @property
    def begins_off(self) -> bool:
        return any(other.watch.settings.wakes == self.stream.name for other in self._others.values())

    def now(self) -> float:
        return self._clock()

    def busy_s(self) -> float:
        """For how long its model has been looking, from any thread."""
        return self._waker.busy_s() if self._waker is not None else 0.0

    def meet(self, watches: list[SensorWatch]) -> None:
        """Before any of them starts: what starts first may wake what has not."""
        self._others = {watch.stream.name: watch for watch in watches}
        if self.begins_off:
            self.energy.begin(self._clock(), on=False)

    async def start(self) -> None:
        """Raises what can never work, unless the sensor begins switched off: then it is told when it is woken."""
        if self.begins_off:
            return
        await self.sensor.start(self._emit)
        self._keep_on(started=True)
        self.energy.begin(self._clock(), on=True)

    async def stop(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._switching is not None:
            await asyncio.wait([self._switching])
        await self._switch_off()
        self.energy.end(self._clock())
        if self._waker is not None:
            await self._waker.close()

    async def ended(self) -> None:
        """When the sensor has nothing more to give and all of it was looked at; at once if it is switched off."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        await self._looked_at()

    def switch(self, on: bool, by: str) -> None:
        """By the watch of another stream, of which there may be several. Not after the end: that would be for good."""
        (self._woken_by.add if on else self._woken_by.discard)(by)
        if self._over:
            return
        on, before = bool(self._woken_by), self._switching

        async def change() -> None:
            if before is not None:
                await asyncio.wait([before])
            if on is (self._keeping is not None):
                return
            log.info("sensor %s is switched %s", self.stream.name, "on" if on else "off")
            self.energy.switched(on, self._clock())
            if on:
                self._keep_on(started=False)
            else:
                await self._switch_off()
                self._take(Interrupted())

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
            self._take(Interrupted())
            await asyncio.sleep(RETRY_S)

    async def _switch_off(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        await self.sensor.stop()

    async def _emit(self, sample: Sample) -> None:
        """Back when there is room for the next: a sensor that can wait loses nothing to a slow model."""
        await self._loop.room()
        self._take(Sampled({name: np.asarray(array) for name, array in sample.tensors.items()}))
        if sum(self.watch.counts.bad.values()) != self._bad:
            self._tell_of_bad()
        if self.watch.crowded:
            await self._looked_at()

    async def _looked_at(self) -> None:
        while self.watch.looking:
            self._looked.clear()
            await self._looked.wait()

    def _take(self, event: WatchEvent) -> None:
        """A model that looks in line answers before this returns: its answer waits its turn, however many there are."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                now = self._clock()
                for effect in self.watch.handle(self._events.popleft(), now):
                    self._perform(effect)
                self._arrange_waking(now)
        finally:
            self._handling = False
        if not self.watch.looking:
            self._looked.set()

    def _perform(self, effect: WatchEffect) -> None:
        match effect:
            case Look():
                assert self._waker is not None, "a look, and nobody who looks"
                self._waker.look(effect, self._take)
            case Ask(window):
                self._ask(window)
            case SensorOn(stream):
                self._others[stream].switch(True, self.stream.name)
            case SensorOff(stream):
                self._others[stream].switch(False, self.stream.name)

    def _ask(self, window: Tensors) -> None:
        name = self.stream.name
        try:
            payload = payload_of(_named(window, self._names), self._names)
        except BadInput as error:
            self._loop.streams[name].not_asked += 1
            self._tell(error)
            return
        try:
            self._loop.submit(name, payload, FROM_SENSOR + name, stage=self._stage)
        except BadInput as error:
            self._tell(error)

    def _tell(self, error: BadInput) -> None:
        if "asked" not in self._told:
            self._told.add("asked")
            log.warning("stream %s: %s (told once, counted always)", self.stream.name, error)

    def _tell_of_bad(self) -> None:
        """Once of each kind: one that a trigger can't hear would be silent for ever. Of a model's the waker does."""
        bad = self.watch.counts.bad
        for kind in [each for each in bad if bad[each] and each not in self._told and each in BAD_SAMPLES]:
            self._told.add(kind)
            log.warning("stream %s: a sample %s (told once, counted always)", self.stream.name, BAD_SAMPLES[kind])
        self._bad = sum(bad.values())

    def _arrange_waking(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.watch.wakes_at is not None:
            delay_s = max(0.0, self.watch.wakes_at - now)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._take, WatchTicked())


def _named(tensors: Tensors, names: tuple[str, ...]) -> Mapping[str, Any]:
    """A single array is the model's only input, whatever the sensor calls it."""
    if len(tensors) == 1 and len(names) == 1:
        return {names[0]: next(iter(tensors.values()))}
    return tensors
