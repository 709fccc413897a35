"""Releases for real processes: the tiers of one system, and a device that passes everything on where it has no part.

An agent always has a model. Where the system has none on the device it gets one that says nothing that could be read,
in microseconds: then every question climbs, and no guess of it can be taken for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cascade.adapters.bundle_folder import LoadedRelease, write_bundle, write_release
from cascade.release.assembled import asked_stages
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec
from cascade_cli.evaluate.replayed import PASSES_ON
from cascade_cli.evaluate.systems import System

_UNREADABLE = -1.0
"""No score is below 0."""


def write_system(folder: Path, system: System, task: str) -> Path:
    """As a release for a task of its own. What stands at its top answers whatever it thinks of it."""
    gates: list[StageGate] = []
    asked = asked_stages([release.bundle.manifest for release in system.releases.values()])
    for (tier, release), runnable in zip(system.releases.items(), asked, strict=True):
        manifest = _with(release.bundle.manifest, {stage.name for stage in runnable})
        files = {path: release.bundle.folder / path for path in manifest.files}
        write_bundle(folder / tier, msgspec.structs.replace(manifest, task=task), files)
        names = [stage.name for stage in manifest.stages]
        mine = [gate for gate in release.manifest.gates if gate.tier == tier and gate.stage in names]
        gates += _topped(mine, names[-1]) if tier == system.topmost else mine
    if "edge" not in system.releases:
        write_bundle(
            folder / "edge", _passing_on(system.any_release, task), {"model.json": _script(system.any_release)}
        )
        gates.append(StageGate(tier="edge", stage=PASSES_ON, gate=GateSpec("never")))
    write_release(folder, task, task, gates)
    return folder


def _with(manifest: BundleManifest, names: set[str]) -> BundleManifest:
    """These stages of it, and no file of the others: it would count as one that lies beside a model, and make another
    stage of it, for which no calibration was fitted."""
    stages = tuple(stage for stage in manifest.stages if stage.name in names)
    left_out = {stage.file for stage in manifest.stages} - {stage.file for stage in stages}
    files = {path: entry for path, entry in manifest.files.items() if path not in left_out}
    return msgspec.structs.replace(manifest, stages=stages, files=files)


def _topped(gates: Sequence[StageGate], last: str) -> list[StageGate]:
    return [
        msgspec.structs.replace(gate, gate=GateSpec("always", drop=gate.gate.drop)) if gate.stage == last else gate
        for gate in gates
    ]


def _passing_on(release: LoadedRelease, task: str) -> BundleManifest:
    first = release.bundle.manifest.stages[0]
    inputs = tuple(
        InputSpec(tensor=each.tensor, shape=each.shape, dtype=each.dtype, model_input=each.tensor)
        for each in first.inputs
        if each.asked
    )
    stage = StageSpec(
        name=PASSES_ON, file="model.json", format="scripted", inputs=inputs, output=OutputSpec(kind="classes")
    )
    return BundleManifest(format=1, name="passes-on", task=task, tier="edge", stages=(stage,), files={})


def _script(release: LoadedRelease) -> bytes:
    first = release.bundle.manifest.stages[0]
    return msgspec.json.encode(
        {
            "script": "fixed",
            "inputs": {each.tensor: list(each.shape) for each in first.inputs if each.asked},
            "outputs": {"y": [1]},
            "values": {"y": [_UNREADABLE]},
        }
    )
