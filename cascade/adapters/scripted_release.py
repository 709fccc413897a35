"""A release of three models that say what their input tells them to: for tests, and for trying settings out.

The one tensor, `x`, holds the class scores that the edge, fog and cloud models will give, side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import TIERS, BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.ladder import GateSpec

TENSOR = "x"
CONFIDENT = 0.9


def write_scripted_release(
    folder: Path,
    task: str = "task",
    labels: Sequence[str] = ("no", "yes"),
    *,
    drop: Sequence[str] = (),
    faults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Edge and fog answer from a confidence of 0.9 on, the cloud always. `faults` are more lines of a tier's script."""
    classes = len(labels)
    gates = []
    for place, tier in enumerate(TIERS):
        script: dict[str, Any] = {
            "script": "echo",
            "inputs": {TENSOR: [classes * len(TIERS)]},
            "outputs": {"y": [classes]},
            "at": place * classes,
            **(faults or {}).get(tier, {}),
        }
        stage = StageSpec(
            name=f"{tier}-model",
            file="model.json",
            format="scripted",
            inputs=(InputSpec(tensor=TENSOR, shape=(classes * len(TIERS),)),),
            output=OutputSpec(kind="classes"),
            labels=tuple(labels),
        )
        manifest = BundleManifest(
            format=1, name=f"scripted-{tier}", task=task, tier=cast(Tier, tier), stages=(stage,), files={}
        )
        write_bundle(folder / tier, manifest, {"model.json": msgspec.json.encode(script)})
        gate = GateSpec("always") if tier == "cloud" else GateSpec("confidence", CONFIDENT, tuple(drop))
        gates.append(StageGate(tier=cast(Tier, tier), stage=stage.name, gate=gate))
    write_release(folder, "scripted", task, gates)
    return folder


def scripted_sample(*scores: Sequence[float]) -> npt.NDArray[np.float32]:
    """The input for which the tiers will give these scores, from the edge up."""
    return np.array([score for tier in scores for score in tier], dtype=np.float32)
