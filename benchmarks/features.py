"""Features of one second of sound, of an image and of other sensors: milliseconds each, beside a small model's call.

    python -m benchmarks.features [--rounds N] [--quick] [--out FILE.json]

The model that they are compared with is the keyword model of MLPerf Tiny (`CASCADE_DATA` says where it is), or else the
small convolutional network that the other benchmarks run. Medians; all in one process, on one core, in turn.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.command import Subject, main
from benchmarks.rounds import Effort, Tell
from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings, Model
from cascade.inference.features import apply_features
from cascade.inference.features.streaming import WindowFeatures
from cascade.release.features import Feature
from cascade.release.preprocessing import LowPass, Normalise, Quantise, Resample, Resize, Rssi
from cascade.release.spectra import LogMel, Mfcc

SECOND = np.random.default_rng(0).integers(-8000, 8000, 16_000).astype(np.int16)
DICE = np.random.default_rng(1)
LOG_MEL = LogMel(rate_hz=16_000, frame=400, hop=160, bands=40)
MFCC = Mfcc(
    rate_hz=16_000, frame=480, hop=320, bands=40, high_hz=4000, amplitude="magnitude", slopes_in="mel", add=1e-6,
    coefficients=10, cosine="htk",
)  # fmt: skip
LIMIT_MS = 2.0
"""For one second of sound."""
CALLS = 40
"""Of each in one round."""
STREAMED, MODEL = "log-mel, streamed: a tenth of a second more", "the model"

CASES: dict[str, tuple[Any, tuple[Feature, ...]]] = {
    "log-mel, 40 bands, 98 frames": (SECOND, (LOG_MEL,)),
    "MFCC, 10 of 40, 49 frames": (SECOND, (Normalise(divide=32768.0), MFCC)),
    "MFCC, quantised": (SECOND, (Normalise(divide=32768.0), MFCC, Quantise(scale=0.5847029, zero_point=83))),
    "low pass, 16 to 8 kHz": (SECOND, (LowPass(rate_hz=16_000, keep_every=2),)),
    "resample, 8 to 16 kHz": (SECOND[:8000], (Resample(from_hz=8000, to_hz=16_000),)),
    "resample, 48 to 16 kHz": (np.resize(SECOND, 48_000), (Resample(from_hz=48_000, to_hz=16_000),)),
    "log-mel at 8 kHz, from 16": (
        SECOND,
        (LowPass(rate_hz=16_000, keep_every=2), LogMel(rate_hz=8000, frame=200, hop=80)),
    ),
    "resize 640×480×3 to 96×96": (DICE.integers(0, 256, (480, 640, 3), np.uint8), (Resize(height=96, width=96),)),
    "the same, by area": (DICE.integers(0, 256, (480, 640, 3), np.uint8), (Resize(height=96, width=96, how="area"),)),
    "520 signal strengths": (DICE.integers(-100, 0, 520).astype(np.int8), (Rssi(),)),
    "normalise 28×28": (DICE.integers(0, 256, (28, 28), np.uint8), (Normalise(divide=255.0),)),
}  # fmt: skip
ABOUT_SOUND = [name for name, (sample, _) in CASES.items() if sample.ndim == 1 and len(sample) > 1000]


Work = Callable[[], object]


def time_ms(work: Work, calls: int) -> float:
    taken = []
    for _ in range(calls):
        began = perf_counter()
        work()
        taken.append((perf_counter() - began) * 1000.0)
    return median(taken)


def _streamed() -> Work:
    """A window of one second each tenth of a second: what a step costs when only its new frames are computed."""
    features = WindowFeatures((LOG_MEL,), 16_000, 1600)
    features.push(SECOND)
    features.next()

    def step() -> None:
        features.push(SECOND[:1600])
        features.next()

    return step


def _applied(sample: Any, features: tuple[Feature, ...]) -> Work:
    return lambda: apply_features(sample[None], features)


def smallest_model(folder: Path) -> tuple[str, Model, dict[str, Any]]:
    data = Path(os.environ.get("CASCADE_DATA", "/nonexistent")) / "mlperf-tiny/models/kws_ref_model.tflite"
    if data.exists() and engine("tflite").missing() is None:
        model = engine("tflite").load(data, EngineSettings())
        return "MLPerf Tiny keywords, int8", model, {model.inputs[0].name: np.zeros((1, 49, 10, 1), np.float32)}
    from benchmarks.models import write_cnn_release

    release = write_cnn_release(folder / "release")
    path = next((release / "edge").glob("*.onnx"))
    model = engine("onnx").load(path, EngineSettings())
    shape = [1, *[size or 1 for size in model.inputs[0].shape[1:]]]
    return (
        f"{path.name} (CASCADE_DATA names no keyword model)",
        model,
        {model.inputs[0].name: np.zeros(shape, np.float32)},
    )


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    cases = {case: _applied(*given) for case, given in CASES.items()}
    cases[STREAMED] = _streamed()
    with tempfile.TemporaryDirectory() as folder:
        name, model, inputs = smallest_model(Path(folder))
        cases[MODEL] = lambda: model.run(inputs)
        taken: dict[str, list[float]] = {case: [] for case in cases}
        for case in cases.values():
            case()
        for number in range(effort.rounds):
            for case, work in cases.items():
                taken[case].append(time_ms(work, effort.of(CALLS)))
            tell(f"  round {number + 1}: one call of {name}: {taken[MODEL][-1]:.3f} ms")
        model.close()
    ms = {case: median(each) for case, each in taken.items()}
    return {"model": name, "model_ms": ms.pop(MODEL), "ms": ms}


def table(result: dict[str, Any]) -> str:
    lines = [f"  one call of {result['model']}: {result['model_ms']:.3f} ms"]
    lines.append(f"  {'features of one sample':44}{'ms':>8}{'model calls':>14}")
    lines += [f"  {case:44}{ms:8.3f}{ms / result['model_ms']:14.1f}" for case, ms in result["ms"].items()]
    slow = [case for case in ABOUT_SOUND if result["ms"][case] > LIMIT_MS]
    lines.append(f"  over {LIMIT_MS:g} ms for a second of sound: {', '.join(slow) or 'none'}")
    return "\n".join(lines)


SUBJECT = Subject("features", "Features, before any model", measure, table)

if __name__ == "__main__":
    main(SUBJECT, __doc__)
