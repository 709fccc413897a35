"""Features of one second of sound, of an image and of other sensors: milliseconds each, beside a small model's call.

    python -m benchmarks.features [--rounds 200] [--out FILE.json]

The model that they are compared with is the keyword model of MLPerf Tiny (`CASCADE_DATA` says where it is), or else the
small convolutional network that the other benchmarks run. Medians; all in one process, on one core, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.machine import measured_on
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


def time_ms(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        began = perf_counter()
        work()
        taken.append((perf_counter() - began) * 1000.0)
    return median(taken)


def streamed_ms(rounds: int) -> float:
    """A window of one second each tenth of a second: what a step costs when only its new frames are computed."""
    features = WindowFeatures((LOG_MEL,), 16_000, 1600)
    features.push(SECOND)
    features.next()

    def step() -> None:
        features.push(SECOND[:1600])
        features.next()

    return time_ms(step, rounds)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name, model, inputs = smallest_model(Path(folder))
        model_ms = time_ms(lambda: model.run(inputs), options.rounds)
        model.close()
    figures = {
        case: time_ms(lambda sample=sample, features=features: apply_features(sample[None], features), options.rounds)
        for case, (sample, features) in CASES.items()
    }
    figures["log-mel, streamed: a tenth of a second more"] = streamed_ms(options.rounds)
    print(f"one call of {name}: {model_ms:.3f} ms\n")
    print(f"{'features of one sample':44}{'ms':>8}{'of a model call':>18}")
    for case, ms in figures.items():
        print(f"{case:44}{ms:8.3f}{ms / model_ms:17.1f}×")
    slow = [case for case in ABOUT_SOUND if figures[case] > LIMIT_MS]
    if options.out is not None:
        options.out.write_text(
            json.dumps({"model": name, "model_ms": model_ms, "ms": figures, **measured_on()}, indent=1)
        )
    if slow:
        raise SystemExit(f"over {LIMIT_MS:g} ms for a second of sound: {', '.join(slow)}")


if __name__ == "__main__":
    main()
