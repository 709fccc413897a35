"""Runs stages: holds the models of the installed releases, and turns `RunStage` into `Predicted` or `RunFailed`.

In line, on the thread that calls it: a hand-off to an executor and back costs more than a small model does. `install`
may be called from another thread: it loads and warms up on the side, and publishes with one assignment.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np

from cascade import __version__
from cascade.adapters.backends import ENGINES, engine, usable_engines
from cascade.adapters.backends.backend import Array, EngineSettings, Model
from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bundle_folder import LoadedBundle, LoadedRelease
from cascade.adapters.energy.estimate import EstimateMeter
from cascade.adapters.energy.meter import Meter
from cascade.adapters.stage_inputs import InputReader, check_carried, part_of, stacked
from cascade.adapters.stage_look import LookRan, look_with
from cascade.errors import BadInput, BundleRejected, CascadeError, ModelRejected
from cascade.inference.calibration import calibrator
from cascade.inference.cues import cues_of
from cascade.inference.effects import RunStage
from cascade.inference.events import BadSample, Predicted, RunFailed
from cascade.inference.outputs import UnreadableOutput, read_outputs
from cascade.inference.watch_words import Look, Looked
from cascade.messages import Prediction, Question
from cascade.release.bundle import Costs, StageSpec
from cascade.release.compatibility import MachineFacts, misfits
from cascade.release.costs import whole_costs
from cascade.release.ladder import Ladder

logger = logging.getLogger(__name__)

Result = Prediction | BadSample


TELL_EVERY_S = 60.0
"""A model that fails is in the log so often at most. Each failure is counted."""


class LoadedStage:
    """One model, and how questions go in and predictions come out."""

    def __init__(self, spec: StageSpec, model: Model) -> None:
        self.spec = spec
        self._model = model
        self._one_at_a_time = threading.Lock()
        self._told = False
        self.readers = tuple(
            InputReader(each, each.model_input or _only_input(spec.name, model)) for each in spec.inputs
        )
        self.costs = whole_costs(spec)
        self._calibrate = calibrator(spec.calibration) if spec.calibration else None

    def warm_up(self) -> None:
        """Run it once on zeros, all the way to a prediction: a manifest that doesn't fit its model shows here, not at
        the first question, which doesn't pay for first allocations either. `ModelRejected` if it fails."""
        try:
            _, outputs = self.run_once({reader.model_input: reader.zeros() for reader in self.readers})
            check_carried(self.readers, outputs)
        except (BadInput, UnreadableOutput) as error:
            raise ModelRejected(f"stage {self.spec.name}: the model doesn't fit its manifest: {error}") from error
        except Exception as error:  # an engine may raise anything, and the release is refused all the same
            raise ModelRejected(f"stage {self.spec.name}: fails on zeros: {error}") from error

    def predict(self, questions: Sequence[Question]) -> tuple[Result, ...]:
        """One result per question, in order. What it raises is the failure of the whole batch."""
        batch = stacked(self.readers, questions)
        predictions = self._predict_all(batch.arrays, len(batch.kept))
        if not batch.bad:
            return tuple(predictions)
        if not self._told:
            self._told = True
            reason = next(iter(batch.bad.values()))
            logger.warning("stage %s: bad input: %s (told once, counted always)", self.spec.name, reason)
        results: dict[int, Result] = {index: BadSample(reason) for index, reason in batch.bad.items()}
        results.update(zip(batch.kept, predictions, strict=True))
        return tuple(results[index] for index in range(len(questions)))

    def _predict_all(self, arrays: Mapping[str, Array], samples: int) -> Sequence[Result]:
        limit = self.spec.max_batch
        if samples <= limit:
            return self._predict_batch(arrays, samples) if samples else ()
        parts = range(0, samples, limit)
        return [
            result
            for at in parts
            for result in self._predict_batch(part_of(self.readers, arrays, at, limit), min(limit, samples - at))
        ]

    def _predict_batch(self, arrays: Mapping[str, Array], samples: int) -> Sequence[Result]:
        """A batch that fails, fails whole: the hop tries its questions one by one."""
        try:
            return self._run(arrays, samples)
        except BadInput as error:
            if samples > 1:
                raise
            return [BadSample(str(error))]

    def _run(self, arrays: Mapping[str, Array], samples: int) -> list[Prediction]:
        with self._one_at_a_time:  # a watch looks on the loop's thread while batches run in the models' thread
            outputs = self._model.run(arrays)
        return self._read(arrays, outputs, samples)

    def _read(self, arrays: Mapping[str, Array], outputs: Mapping[str, Array], samples: int) -> list[Prediction]:
        cues = cues_of(arrays[self.readers[0].model_input], self.spec.cues) if self.spec.cues else None
        return read_outputs(outputs, self.spec.output, len(self.spec.labels), samples, self._calibrate, cues)

    def run_once(self, inputs: Mapping[str, Array]) -> tuple[Prediction, Mapping[str, Array]]:
        """For a watch, which looks at one window after the other: the prediction, and all outputs."""
        with self._one_at_a_time:
            outputs = self._model.run(inputs)
        return self._read(inputs, outputs, 1)[0], outputs

    def close(self) -> None:
        self._model.close()


class StageRunner:
    """The installed releases of one hop."""

    def __init__(
        self,
        settings: EngineSettings = EngineSettings(),  # noqa: B008  # a NamedTuple can't be changed
        first_loads: FirstLoads | None = None,
        meter: Meter | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """Without `first_loads` new models are loaded here at once: for tests and simulations with their own models."""
        self._settings = settings
        self._first_loads = first_loads
        self._meter = meter or EstimateMeter()
        self._memory_bytes = memory_bytes
        self._installed: dict[tuple[str, str], dict[str, LoadedStage]] = {}
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
        return look_with(looking, look, self._meter, costs or looking.costs)

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
        except CascadeError:
            _close(stages)
            raise
        return stages

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


def _only_input(stage: str, model: Model) -> str:
    if len(model.inputs) != 1:
        raise ModelRejected(
            f"stage {stage}: inputs {[spec.name for spec in model.inputs]}, and the manifest names none"
        )
    return model.inputs[0].name


def _close(stages: Mapping[str, LoadedStage]) -> None:
    for stage in stages.values():
        stage.close()
