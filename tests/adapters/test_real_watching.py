"""Real models that look at streams: states carried as the model's makers do, features as the sound comes."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.backends.first_load import FirstLoads
from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.gate import Gate
from cascade.inference.watch import Watch
from cascade.inference.watch_thread import Looks
from cascade.inference.watch_words import Look, Sampled, WatchSettings
from cascade.messages import ClassScores
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Normalise

DATA = Path(os.environ.get("CASCADE_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not (DATA / "silero-vad").is_dir(), reason="CASCADE_DATA does not name a folder with silero-vad in it"
)


def silero(folder: Path, file: str) -> LoadedRelease:
    stage = StageSpec(
        name="voice",
        file=file,
        format="onnx",
        inputs=(
            InputSpec(
                tensor="x", shape=(576,), dtype="int16", model_input="input", features=(Normalise(divide=32768.0),)
            ),
            InputSpec(tensor="state", shape=(2, 128), batch_axis=1, model_input="state", carried="stateN"),
            InputSpec(tensor="rate", shape=(), dtype="int64", model_input="sr", value=16000.0),
        ),
        output=OutputSpec(kind="classes", tensor="output"),
        labels=("silence", "speech"),
    )
    manifest = BundleManifest(format=1, name="b", task="voice", tier="edge", stages=(stage,), files={})
    write_bundle(folder / "edge", manifest, {file: DATA / "silero-vad" / file})
    gate = StageGate(tier="edge", stage="voice", gate=GateSpec("confidence", 0.5, ("silence",)))
    write_release(folder, "silero", "voice", [gate])
    return open_release(folder, "edge")


def sound() -> np.ndarray:
    with wave.open(str(DATA / "silero-vad/test.wav")) as file:
        return np.frombuffer(file.readframes(16000 * 20), "<i2")


def alone(recording: np.ndarray) -> list[float]:
    """As its makers run it: 64 rows of context before 512 new ones, and the state handed on."""
    session = pytest.importorskip("onnxruntime").InferenceSession(str(DATA / "silero-vad/silero_vad.onnx"))
    state, said = np.zeros((2, 1, 128), np.float32), []
    for begin in range(0, len(recording) - 576 + 1, 512):
        part = (recording[begin : begin + 576] / np.float32(32768.0)).astype(np.float32)[None]
        output, state = session.run(None, {"input": part, "state": state, "sr": np.array(16000, np.int64)})
        said.append(float(output[0, 0]))
    return said


@pytest.mark.parametrize("chunk", [512, 333])
def test_silero_hears_through_a_watch_what_it_hears_alone(tmp_path: Path, chunk: int) -> None:
    runner, release = StageRunner(first_loads=FirstLoads(tmp_path)), silero(tmp_path, "silero_vad.onnx")
    runner.install(release)
    looks = Looks(Gate(release.ladder.stages[0]))
    watch = Watch(WatchSettings(by="row", window=576, step=512), None, looks)
    recording, heard, asked = sound(), [], 0
    for begin in range(0, len(recording), chunk):
        effects = watch.handle(Sampled({"mic": recording[begin : begin + chunk]}), 0.0)
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Look):
                looked = runner.look("voice", release.id, "voice", effect).looked
                assert isinstance(looked.prediction, ClassScores)
                heard.append(looked.prediction.scores[1])
                effects += watch.handle(looked, 0.0)
            else:
                asked += 1
    expected = alone(recording)
    np.testing.assert_allclose(heard, expected, atol=1e-6)
    assert asked == sum(each >= 0.5 for each in heard)
    assert 0.2 < asked / len(heard) < 0.95
