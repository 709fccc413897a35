"""Runs stages: holds the models of the installed releases, and turns `RunStage` into `Predicted` or `RunFailed`.

In line, on the thread that calls it: a hand-off to an executor and back costs more than a small model does. `install`
may be called from another thread: it loads and warms up on the side, and publishes with one assignment.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping

import msgspec
import numpy as np

from cascade import __version__
from cascade.adapters.backends import ENGINES, engine, usable_engines
from cascade.adapters.backends.backend import EngineSettings, Model
from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bundle_folder import LoadedBundle, LoadedRelease
from cascade.adapters.energy.estimate import EstimateMeter
from cascade.adapters.energy.meter import Meter
from cascade.adapters.hidden_store import MAX_BYTES, HiddenStore
from cascade.adapters.loaded_stage import LoadedStage
from cascade.adapters.stage_look import LookRan, look_with
from cascade.errors import BadInput, BundleRejected, CascadeError, ModelRejected
from cascade.inference.effects import RunStage
from cascade.inference.events import Predicted, RunFailed
from cascade.inference.watch_words import Look, Looked
from cascade.messages import Key, Question
from cascade.release.bundle import BundleManifest, Costs, StageSpec, stage_digest
from cascade.release.compatibility import MachineFacts, misfits
from cascade.release.ladder import Ladder
from cascade.release.segments import before, handed_on, travelling

logger = logging.getLogger(__name__)

TELL_EVERY_S = 60.0
"""A model that fails is in the log so often at most. Each failure is counted."""


class StageRunner:
    """The installed releases of one hop."""

    def __init__(
        self,
        settings: EngineSettings = EngineSettings(),  # noqa: B008  # a NamedTuple can't be changed
        first_loads: FirstLoads | None = None,
        meter: Meter | None = None,
        memory_bytes: int | None = None,
        hidden_bytes: int = MAX_BYTES,
    ) -> None:
        """Without `first_loads` new models are loaded here at once: for tests and simulations with their own models."""
        self._settings = settings
        self._first_loads = first_loads
        self._meter = meter or EstimateMeter()
        self._memory_bytes = memory_bytes
        self._installed: dict[tuple[str, str], dict[str, LoadedStage]] = {}
        self.hidden = HiddenStore(hidden_bytes)
        self._publishing = threading.Lock()
        self._told: dict[str, tuple[float, int]] = {}

    def install(self, release: LoadedRelease, settings: EngineSettings | None = None) -> Ladder:
        """Load all stages of a release, or none: `BundleRejected` with what and where. Installed, it stays as it is."""
        ladder = release.ladder
        key = ladder.task, ladder.release
        if key not in self._installed:
            stages = self._loaded(release.bundle, settings or self._settings)
            with self._publishing:
                self._installed = {**self._installed, key: stages}
        return ladder

    def remove(self, task: str, release: str) -> None:
        """Forget a release, and free its models. Not while it runs: from the thread that calls `run`, or after it."""
        with self._publishing:
            stages = self._installed.get((task, release), {})
            self._installed = {key: each for key, each in self._installed.items() if key != (task, release)}
        _close(stages)

    def installed(self) -> list[tuple[str, str]]:
        """Tasks and releases, in the order in which they came."""
        return list(self._installed)

    def run(self, effect: RunStage) -> Predicted | RunFailed:
        """Run a batch. Milliseconds and joules are those of the whole batch."""
        stage = self._installed.get((effect.task, effect.release), {}).get(effect.stage)
        if stage is None:
            return RunFailed(effect.run, f"no stage {effect.stage} of {effect.task} {effect.release} is installed here")
        mark, started_s = self._meter.begin(), time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                results = stage.predict(effect.questions)
        except Exception as error:  # noqa: BLE001  # an engine may raise anything; the hop goes on without this batch
            self._tell(effect.stage, error)
            return RunFailed(effect.run, f"{type(error).__name__}: {str(error)[:300]}")
        ms = (time.perf_counter() - started_s) * 1000.0
        spent = self._meter.spent(mark, stage.costs, len(results))
        return Predicted(effect.run, results, ms, spent.joules, spent.energy)

    def look(self, task: str, release: str, stage: str, look: Look, costs: Costs | None = None) -> LookRan:
        """One window of a stream. Not through a hop: nobody asked."""
        looking = self._installed.get((task, release), {}).get(stage)
        if looking is None:
            return LookRan(Looked(None), why=f"no stage {stage} of {task} {release} is installed here")
        if looking.before is not None:
            return LookRan(Looked(None), why=f"stage {stage} goes on from {looking.before}, and can't look by itself")
        return look_with(looking, look, self._meter, costs or looking.costs)

    def sendable(self, question: Question, stage: str) -> Question | None:
        """The question with the hidden features of that stage in place of its input. None where they are gone, or hold
        a number that is none."""
        kept = self.hidden.newest(question.key, stage)
        if kept is None:
            return None
        segment, rows = kept
        try:
            with np.errstate(all="ignore"):
                return msgspec.structs.replace(question, payload=segment.packed(rows), hidden=segment.digest)
        except BadInput:
            return None

    def free(self, key: Key) -> None:
        """Nothing goes on from this question's hidden features."""
        self.hidden.free(key)

    def _tell(self, stage: str, error: Exception) -> None:
        """In the log, but not for each question: a broken model would fill the disk with it."""
        now = time.monotonic()
        told_at, untold = self._told.get(stage, (-math.inf, 0))
        if now - told_at < TELL_EVERY_S:
            self._told[stage] = (told_at, untold + 1)
            return
        self._told[stage] = (now, 0)
        logger.warning("stage %s failed, and %d times since this was told last: %s", stage, untold, error)

    def close(self) -> None:
        for task, release in self.installed():
            self.remove(task, release)

    def _loaded(self, bundle: LoadedBundle, settings: EngineSettings) -> dict[str, LoadedStage]:
        self._check_fits(bundle)
        stages: dict[str, LoadedStage] = {}
        try:
            for spec in bundle.manifest.stages:
                stages[spec.name] = LoadedStage(spec, self._load(bundle, spec, settings))
                stages[spec.name].warm_up()
            self._join(bundle.manifest, stages)
        except CascadeError:
            _close(stages)
            raise
        return stages

    def _join(self, manifest: BundleManifest, stages: Mapping[str, LoadedStage]) -> None:
        """What is segments of one model: each behind the one whose hidden features it takes."""
        for spec in manifest.stages:
            parent, hands_on = before(spec), handed_on(spec, manifest.stages)
            if parent or hands_on:
                digest = travelling(stage_digest(spec, manifest))
                stages[spec.name].join(stages.get(parent), hands_on, digest, self.hidden)

    def _check_fits(self, bundle: LoadedBundle) -> None:
        wanted = {stage.format for stage in bundle.manifest.stages}
        usable = usable_engines(wanted)
        if usable < wanted:
            usable = usable_engines()
        facts = MachineFacts(engines=usable, runtime=__version__, memory_bytes=self._memory_bytes)
        reasons = misfits(bundle.manifest, facts)
        reasons += [
            reason for name in sorted(wanted - usable) if name in ENGINES and (reason := engine(name).missing())
        ]
        if reasons:
            raise BundleRejected(f"{bundle.folder}: {'; '.join(reasons)}")

    def _load(self, bundle: LoadedBundle, spec: StageSpec, settings: EngineSettings) -> Model:
        runs = engine(spec.format)
        path = bundle.folder / spec.file
        files = runs.inspect(path, settings)
        for file in files:
            if str(file.relative_to(bundle.folder)) not in bundle.manifest.files:
                raise ModelRejected(f"{spec.file}: needs {file.name}, which the manifest doesn't name")
        if self._first_loads is not None:
            shapes = {each.model_input: each.shape_beside_first for each in spec.inputs}
            values = {each.model_input: each.value for each in spec.inputs if each.value is not None}
            self._first_loads.check(runs, files, settings, shapes, values)
        return runs.load(path, settings)


def _close(stages: Mapping[str, LoadedStage]) -> None:
    for stage in stages.values():
        stage.close()
