"""The model that looks at a stream before there is a question: the first stage of a task's ladder on this device.

In line while it is quick, and in a thread of its own while it is not: samples gather meanwhile. What it costs is
counted as what the same stage costs when it is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from msgspec.structs import replace

from cascade.adapters.bundle_folder import LoadedRelease
from cascade.adapters.slow_models import Paces, SlowModels
from cascade.adapters.stage_look import LookRan
from cascade.inference.effects import RunStage
from cascade.inference.features.streaming import WindowFeatures
from cascade.inference.gate import Gate
from cascade.inference.smoothing import SMOOTHED
from cascade.inference.watch_thread import Looks
from cascade.inference.watch_words import Look, Looked, WatchSettings
from cascade.metrics import JOULES
from cascade.release.bundle import Costs, InputSpec, StageSpec
from cascade.release.costs import whole_costs
from cascade.tally import Tally

log = logging.getLogger(__name__)
CLOSED_WITHIN_S = 2.0


class LookEngine(Protocol):
    """What runs stages on windows: `cascade.adapters.stage_runner.StageRunner`."""

    def look(self, task: str, release: str, stage: str, look: Look, costs: Costs | None = None) -> LookRan: ...


class Waker:
    """One stream's. One look at a time."""

    def __init__(
        self,
        stream: str,
        release: LoadedRelease,
        settings: WatchSettings,
        engine: LookEngine,
        tally: Tally,
        call_from_thread: Callable[[Callable[[], None]], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.spec = release.bundle.manifest.stages[0]
        ladder = release.ladder
        features = _features_as_they_come(self.spec, settings)
        self.looks = Looks(Gate(ladder.stages[0]), features)
        self._stream, self._engine, self._tally = stream, engine, tally
        self._costs = _costs(self.spec, settings, features)
        self._stage = RunStage(0, ladder.task, ladder.release, self.spec.name, ())
        self._told: Callable[[Looked], None] = lambda looked: None
        self._call_from_thread = call_from_thread
        self._slow_models = SlowModels[Look, LookRan](self._run, self._ran)
        self._paces = Paces()
        self._why = ""
        self._clock = clock
        self._began_at: float | None = None

    def busy_s(self) -> float:
        """For how long the look that runs has been running, from any thread: nobody else waits for it."""
        began_at = self._began_at
        return self._clock() - began_at if began_at is not None else 0.0

    def look(self, look: Look, told: Callable[[Looked], None]) -> None:
        """`told` hears what came of it, on the loop's thread, perhaps before this returns."""
        if self._paces.slow(self._stage):
            self._told = told
            self._slow_models.submit(look)
        else:
            told(self._noted(self._run(look)))

    async def close(self) -> None:
        await self._slow_models.close(CLOSED_WITHIN_S)

    def _run(self, look: Look) -> LookRan:
        stage = self._stage
        self._began_at = self._clock()
        ran = self._engine.look(stage.task, stage.release, stage.stage, look, self._costs)
        self._began_at = None
        return ran

    def _ran(self, look: Look, ran: LookRan) -> None:
        self._call_from_thread(lambda: self._told(self._noted(ran)))

    def _noted(self, ran: LookRan) -> Looked:
        """Counted, and told where it is a mistake that was not told before."""
        stage = self._stage
        if ran.why:
            if ran.why != self._why:
                self._why = ran.why
                log.warning("stream %s: stage %s could not look: %s", self._stream, stage.stage, ran.why)
        else:
            self._paces.took(stage, ran.ms)
            self._tally.count(JOULES, (stage.task, stage.stage, ran.energy), ran.joules)
        return ran.looked


def mistakes_of(spec: StageSpec, settings: WatchSettings) -> list[str]:
    """What of a watch does not fit the model that looks."""
    wrong = []
    if settings.smooth > 1 and spec.output.kind not in SMOOTHED:
        wrong.append(f"smooth: found {settings.smooth}, expected 1: {spec.output.kind} have no average")
    return wrong + rows_mistakes(spec, settings, "window", settings.window)


def rows_mistakes(spec: StageSpec, settings: WatchSettings, key: str, rows: int) -> list[str]:
    """Where rows are counted it is known beforehand how many a model gets."""
    asked = [each for each in spec.inputs if each.asked and each.shape]
    if settings.by != "row" or not asked or asked[0].shape[0] == rows:
        return []
    return [f"{key}: found {rows} rows, expected {asked[0].shape[0]}, which stage {spec.name} takes"]


def _features_as_they_come(spec: StageSpec, settings: WatchSettings) -> WindowFeatures | None:
    """None where the stage makes its features of each window anew."""
    one = _only_asked(spec)
    if one is None or not one.features or settings.by != "row" or one.shape[:1] != (settings.window,):
        return None
    features = WindowFeatures(one.features, settings.window, settings.step, one.shape[1:])
    return features if features.streamed else None


def _only_asked(spec: StageSpec) -> InputSpec | None:
    asked = [each for each in spec.inputs if each.asked]
    return asked[0] if len(asked) == 1 else None


def _costs(spec: StageSpec, settings: WatchSettings, features: WindowFeatures | None) -> Costs:
    """Of features that are computed as the rows come, a look pays for those of its step."""
    costs = whole_costs(spec)
    if features is None:
        return costs
    share = min(1.0, settings.step / settings.window)
    return replace(costs, preparing_multiply_adds=round(costs.preparing_multiply_adds * share))
