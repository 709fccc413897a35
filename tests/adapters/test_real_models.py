"""Real models, from a release on disk to predictions. Not ours to commit: `CASCADE_DATA` says where they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.effects import RunStage
from cascade.inference.events import Predicted
from cascade.messages import ClassScores, Energy, Question, Tensor
from cascade.release.bundle import BundleManifest, Costs, InputSpec, Normalise, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec

DATA = Path(os.environ.get("CASCADE_DATA", "/nonexistent"))
KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
MFCC_SCALE, MFCC_ZERO = 0.5847029, 83.0
"""The evaluation set comes quantised; as real numbers it feeds the float and the int8 model alike."""

pytestmark = pytest.mark.skipif(
    not (DATA / "mlperf-tiny").is_dir(), reason="CASCADE_DATA does not name a folder with mlperf-tiny in it"
)


def keyword_release(folder: Path, model: Path) -> LoadedRelease:
    stage = StageSpec(
        name="keywords",
        file="keywords.tflite",
        format="tflite",
        inputs=(
            InputSpec(
                tensor="mfcc",
                shape=(49, 10, 1),
                dtype="int8",
                features=(Normalise(subtract=MFCC_ZERO, divide=1 / MFCC_SCALE),),
            ),
        ),
        output=OutputSpec(kind="classes"),
        labels=KEYWORDS,
        costs=Costs(multiply_adds=2_700_000, bits=8),
    )
    manifest = BundleManifest(format=1, name="keywords", task="keyword", tier="edge", stages=(stage,), files={})
    write_bundle(folder / "edge", manifest, {"keywords.tflite": model})
    gate = StageGate(tier="edge", stage="keywords", gate=GateSpec("confidence", 0.8))
    write_release(folder, "mlperf", "keyword", [gate])
    return open_release(folder, "edge")


@pytest.mark.parametrize(("file", "accuracy"), [("kws_ref_model", 0.902), ("kws_ref_model_float32", 0.900)])
def test_keyword_spotting_is_as_accurate_as_its_makers_say(tmp_path: Path, file: str, accuracy: float) -> None:
    runner = StageRunner(first_loads=FirstLoads(tmp_path))
    release = keyword_release(tmp_path, DATA / "mlperf-tiny/models" / f"{file}.tflite")
    ladder = runner.install(release)
    recorded = np.load(DATA / "mlperf-tiny/eval/kws01_mfcc_int8.npz")
    best = []
    for at in range(0, len(recorded["x"]), 64):
        asked = tuple(asked_of(sample, ladder.release) for sample in recorded["x"][at : at + 64])
        done = runner.run(RunStage(1, "keyword", ladder.release, "keywords", asked))
        assert isinstance(done, Predicted), done
        assert done.energy is Energy.ESTIMATED
        best += [result.best for result in done.results if isinstance(result, ClassScores) and result.readable()]
    assert np.mean(np.array(best) == recorded["label"]) == pytest.approx(accuracy, abs=0.0015)


def asked_of(sample: np.ndarray, release: str) -> Question:
    payload = (Tensor("mfcc", "int8", (49, 10, 1), sample.tobytes()),)
    return Question(
        id="q", device="a.b", stream="s", sequence=1, task="keyword", release=release, payload=payload, ms_left=1000.0
    )
