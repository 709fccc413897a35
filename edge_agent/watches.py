"""The watches of a device, made from its settings and checked against the models that look, and what they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from cascade.adapters.bundle_folder import LoadedRelease
from cascade.errors import SettingsError
from cascade.inference.watch_words import WatchSettings
from cascade.messages import Energy
from cascade.metrics import (
    NOTHING_THERE,
    SENSOR_JOULES,
    SENSOR_SECONDS,
    SENSOR_SWITCHED,
    WATCH_ASKED,
    WATCH_BAD,
    WATCH_FAILED,
    WATCH_LOOKS,
    WATCH_SKIPPED,
)
from cascade.release.bundle import StageSpec
from cascade.tally import Tally
from edge_agent.inference_loop import InferenceLoop
from edge_agent.settings import StreamTable, WatchTable
from edge_agent.waker import LookEngine, Waker, mistakes_of, rows_mistakes
from edge_agent.watching import SensorWatch

COUNTED = {
    NOTHING_THERE: "dropped",
    WATCH_ASKED: "asked",
    WATCH_LOOKS: "looks",
    WATCH_FAILED: "failed",
    WATCH_SKIPPED: "skipped",
}


def make_watches(
    streams: Sequence[StreamTable],
    releases: Sequence[LoadedRelease],
    engine: LookEngine,
    loop: InferenceLoop,
    tally: Tally,
    where: str,
) -> list[SensorWatch]:
    """One for each stream that has a sensor. `SettingsError` with all that doesn't fit."""
    by_task = {release.manifest.task: release for release in releases}
    mistakes = [
        f"streams[{index}].watch.{mistake}"
        for index, stream in enumerate(streams)
        for mistake in _mistakes(stream, by_task)
    ]
    if mistakes:
        raise SettingsError(where, mistakes)
    return [_made(stream, by_task, engine, loop, tally) for stream in streams if stream.sensor is not None]


def _made(
    stream: StreamTable, by_task: Mapping[str, LoadedRelease], engine: LookEngine, loop: InferenceLoop, tally: Tally
) -> SensorWatch:
    settings = watch_settings(stream.watch)
    waker = None
    if stream.watch is not None and stream.watch.wake_task is not None:
        release = by_task[stream.watch.wake_task]
        waker = Waker(stream.name, release, settings, engine, tally, loop.shell.call_from_thread)
    stages = _stages(stream.task, by_task)
    names = tuple(stages[0].asks_for) if stages else ()
    watch = SensorWatch(stream, settings, loop, names, waker, _entry(stream, stages))
    count(watch, tally)
    return watch


def _stages(task: str, by_task: Mapping[str, LoadedRelease]) -> Sequence[StageSpec]:
    release = by_task.get(task)
    return release.bundle.manifest.stages if release is not None else ()


def _entry(stream: StreamTable, stages: Sequence[StageSpec]) -> str:
    """Where a question enters. What the first stage of its own ladder woke, the next one verifies."""
    woken_by_itself = stream.watch is not None and stream.watch.wake_task == stream.task
    return stages[1].name if woken_by_itself and len(stages) > 1 else ""


def _mistakes(stream: StreamTable, by_task: Mapping[str, LoadedRelease]) -> list[str]:
    watch, settings = stream.watch, watch_settings(stream.watch)
    if watch is None:
        return []
    wrong = []
    if watch.wake_task is not None and watch.wake_task in by_task:
        wrong += mistakes_of(by_task[watch.wake_task].bundle.manifest.stages[0], settings)
    stages = _stages(stream.task, by_task)
    entry = _entry(stream, stages)
    for spec in stages[:1] if not entry else stages[1:2]:
        rows = settings.pre_roll + settings.window + settings.post_roll
        wrong += rows_mistakes(spec, settings, "pre_roll + window + post_roll", rows)
    if watch.smooth > 1 and watch.wake_task is None:
        wrong.append("smooth: is there without a wake_task, whose scores it would average")
    return wrong


def watch_settings(table: WatchTable | None) -> WatchSettings:
    if table is None:
        return WatchSettings()
    return WatchSettings(
        window=table.window,
        step=table.step,
        by=table.by,
        hold=table.hold,
        patience=table.patience,
        smooth=table.smooth,
        cool_down_s=table.cool_down_s,
        once=table.once,
        pre_roll=table.pre_roll,
        post_roll=table.post_roll,
        wakes=table.wakes or "",
        awake_s=table.awake_s,
    )


def count(watch: SensorWatch, tally: Tally) -> None:
    """What a watch and its sensor say when the metrics are read."""
    name, counts, energy = watch.stream.name, watch.watch.counts, watch.energy
    for row, attribute in COUNTED.items():
        tally.gauge(row, (name,), partial(getattr, counts, attribute))
    for kind in counts.bad:
        tally.gauge(WATCH_BAD, (name, kind), partial(counts.bad.__getitem__, kind))
    tally.gauge(SENSOR_SWITCHED, (name,), lambda: energy.switches)
    for on, state in ((False, "off"), (True, "on")):
        tally.gauge(SENSOR_SECONDS, (name, state), _reader(watch, on, "seconds"))
        if energy.known:
            tally.gauge(SENSOR_JOULES, (name, state, Energy.ESTIMATED.value), _reader(watch, on, "joules"))


def _reader(watch: SensorWatch, on: bool, what: str) -> Callable[[], float]:
    return lambda: float(getattr(watch.energy.spent(on, watch.now()), what))
