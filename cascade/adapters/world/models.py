"""The models of a release in a simulated world: the engines are the real ones, the time that they take need not be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cascade.adapters.backends.backend import EngineSettings
from cascade.adapters.bundle_folder import LoadedRelease, open_release, tiers_of
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BundleRejected
from cascade.inference.effects import RunStage
from cascade.inference.events import Predicted, RunFailed
from cascade.messages import Key, Question
from cascade.release.bundle import TIERS, Tier
from cascade.release.ladder import Ladder

USUAL_ENGINES = EngineSettings()


class ReleaseModels:
    """Runs what the hops of a world want to have run, by the tier that wants it. It is an `Engine` of `node.py`.

    What a call took on this machine stands in the trail. It counts on the world's clock only where `model_ms` says how
    much: otherwise a busy machine would change who answers, and no run would be like another.
    """

    def __init__(
        self, folder: Path, model_ms: Mapping[str, float] | None = None, engines: EngineSettings = USUAL_ENGINES
    ) -> None:
        here = tiers_of(folder)
        if not here:
            raise BundleRejected(f"{folder}: no bundle of any tier is here")
        self._model_ms = _by_tier(model_ms)
        self.releases: dict[Tier, LoadedRelease] = {}
        self._runners: dict[str, StageRunner] = {}
        self.joules: defaultdict[str, float] = defaultdict(float)
        """By tier, as far as they are known."""
        try:
            for tier in here:
                self._load(folder, tier, engines)
        except BaseException:
            self.close()
            raise

    @property
    def ladders(self) -> dict[str, tuple[Ladder, ...]]:
        return {tier: (release.ladder,) for tier, release in self.releases.items()}

    def __call__(self, tier: str, wanted: RunStage) -> Predicted | RunFailed:
        outcome = self._runners[tier].run(wanted)
        if isinstance(outcome, RunFailed):
            return outcome
        self.joules[tier] += outcome.joules
        ms = self._model_ms.get(tier)
        return outcome if ms is None else msgspec.structs.replace(outcome, ms=ms)

    def takes_s(self, tier: str, outcome: Predicted) -> float:
        """How much of the world's time a call takes."""
        return self._model_ms.get(tier, 0.0) / 1000.0

    def sendable(self, tier: str, question: Question, stage: str) -> Question | None:
        return self._runners[tier].sendable(question, stage)

    def free(self, tier: str, key: Key) -> None:
        self._runners[tier].free(key)

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()

    def _load(self, folder: Path, tier: Tier, engines: EngineSettings) -> None:
        release = self.releases[tier] = open_release(folder, tier)
        runner = self._runners[tier] = StageRunner(engines)
        runner.install(release)


def _by_tier(model_ms: Mapping[str, float] | None) -> dict[str, float]:
    given = dict(model_ms or {})
    unknown = sorted(set(given) - set(TIERS))
    if unknown:
        raise ValueError(f"model_ms: no tier is called {', '.join(unknown)}; there are {', '.join(TIERS)}")
    return given
