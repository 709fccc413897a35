"""What every tier does at its start: open the releases that its settings name, and load their models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bundle_folder import LoadedRelease, names_tier, open_release
from cascade.adapters.settings_tables import EngineTable, TaskTable
from cascade.adapters.stage_runner import StageRunner
from cascade.errors import BundleRejected, SettingsError
from cascade.inference.gate import Gate
from cascade.release.bundle import Tier

log = logging.getLogger(__name__)


def stage_runner(state_dir: Path, engine: EngineTable) -> StageRunner:
    return StageRunner(engine.engine_settings(), FirstLoads(state_dir))


def install_tasks(
    runner: StageRunner, tasks: Sequence[TaskTable], tier: Tier, where: str, *, passes_on: bool = False
) -> list[LoadedRelease]:
    """The releases of all tasks, ready to run; `SettingsError` with every one that can't be used.

    A node that `passes_on` needs no model of a release that has none for its tier: questions of that task climb.
    """
    installed: list[LoadedRelease] = []
    mistakes: list[str] = []
    for index, task in enumerate(tasks):
        try:
            if passes_on and not names_tier(task.release, tier):
                log.info("task %s: its release has no model for this tier, so its questions are passed on", task.name)
                continue
            release = open_release(task.release, tier)
            if release.manifest.task != task.name:
                found = release.manifest.task
                mistakes.append(f"tasks[{index}].release: is for task {found!r}, expected {task.name!r}")
                continue
            for stage in release.ladder.stages:
                Gate(stage)  # One that can't be raised is told now, before a hop is asked to install it.
            runner.install(release)
            installed.append(release)
        except BundleRejected as error:
            mistakes.append(f"tasks[{index}].release: {error}")
    if mistakes:
        runner.close()
        raise SettingsError(where, mistakes)
    return installed
