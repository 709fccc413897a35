"""Bundles for wake words: MLPerf Tiny's model and Silero VAD as they are, and two small models trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.wake_streams import RATE, Array, Clips
from cascade.adapters.bundle_folder import LoadedRelease, open_release, write_bundle, write_release
from cascade.inference.features import apply_features
from cascade.release.bundle import BundleManifest, Costs, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.features import Feature
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Check, Dequantise, Normalise, Reshape
from cascade.release.spectra import LogMel, Mfcc

KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
SCALE, ZERO = 0.5847029, 83
MFCC = Mfcc(
    rate_hz=RATE, frame=480, hop=320, bands=40, low_hz=20, high_hz=4000, amplitude="magnitude", slopes_in="mel",
    add=1e-6, coefficients=10, cosine="htk",
)  # fmt: skip
"""The front end that MLPerf Tiny's keyword model was trained on."""
HEARD = Check(varies=False)
"""A stream may be silent: then there is nothing in it, and nobody is told."""
COARSE: tuple[Feature, ...] = (
    HEARD,
    Normalise(divide=32768.0),
    LogMel(rate_hz=RATE, frame=800, hop=800, bands=12, floor=1e-4),
)
FINE: tuple[Feature, ...] = (
    HEARD,
    Normalise(divide=32768.0),
    LogMel(rate_hz=RATE, frame=480, hop=400, bands=24, floor=1e-4),
)


def one_tier(folder: Path, task: str, stages: list[tuple[StageSpec, Path | bytes, GateSpec]]) -> LoadedRelease:
    specs = tuple(spec for spec, _, _ in stages)
    manifest = BundleManifest(format=1, name=task, task=task, tier="edge", stages=specs, files={})
    write_bundle(folder / "edge", manifest, {spec.file: source for spec, source, _ in stages})
    gates = [StageGate(tier="edge", stage=spec.name, gate=gate) for spec, _, gate in stages]
    write_release(folder, task, task, gates)
    return open_release(folder, "edge")


def tiny_release(folder: Path, data: Path, kind: str, sure: float) -> LoadedRelease:
    """Fed by `sound`, or by `features` that are there already, quantised."""
    shaped = Reshape(shape=(49, 10, 1))
    if kind == "sound":
        features = (HEARD, Normalise(divide=32768.0), MFCC, shaped)
        spec = InputSpec(tensor="x", shape=(RATE,), dtype="int16", features=features)
    else:
        spec = InputSpec(
            tensor="x", shape=(49, 10), dtype="int8", features=(Dequantise(scale=SCALE, zero_point=ZERO), shaped)
        )
    stage = StageSpec(
        name="keywords", file="m.tflite", format="tflite", inputs=(spec,), output=OutputSpec(kind="classes"),
        labels=KEYWORDS, costs=Costs(multiply_adds=2_700_000, bits=8),
    )  # fmt: skip
    model = data / "mlperf-tiny/models/kws_ref_model.tflite"
    return one_tier(folder, "keyword", [(stage, model, GateSpec("confidence", sure, ("silence", "unknown")))])


def silero_release(folder: Path, data: Path) -> LoadedRelease:
    """64 rows of context and 512 new ones; a state that goes from window to window; the rate as a number."""
    inputs = (
        InputSpec(tensor="x", shape=(576,), dtype="int16", model_input="input", features=(Normalise(divide=32768.0),)),
        InputSpec(tensor="state", shape=(2, 128), batch_axis=1, model_input="state", carried="stateN"),
        InputSpec(tensor="rate", shape=(), dtype="int64", model_input="sr", value=float(RATE)),
    )
    stage = StageSpec(
        name="silero", file="m.onnx", format="onnx", inputs=inputs, output=OutputSpec(kind="classes", tensor="output"),
        labels=("silence", "speech"),
    )  # fmt: skip
    gate = GateSpec("confidence", 0.5, ("silence",))
    return one_tier(folder, "voice", [(stage, data / "silero-vad/silero_vad.onnx", gate)])


def seven_release(folder: Path, clips: Clips, label: int) -> LoadedRelease:
    """A logistic regression on coarse spectra looks; a network on finer ones verifies."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    sounds, wanted = windows(clips, label)
    small = LogisticRegression(C=0.02, max_iter=300, class_weight="balanced")
    large = MLPClassifier((64,), max_iter=60, alpha=1e-2, early_stopping=True, random_state=0)
    stages = []
    for name, model, features, sure in (("small", small, COARSE, 0.5), ("large", large, FINE, 0.5)):
        fed = np.concatenate([apply_features(part, features) for part in np.array_split(sounds, 40)])
        flat = fed.reshape(len(fed), -1)
        model.fit((flat - flat.mean(0)) / flat.std(0), wanted)
        layers = (
            [(model.coef_.T, model.intercept_)]
            if name == "small"
            else list(zip(model.coefs_, model.intercepts_, strict=True))
        )
        spec = InputSpec(
            tensor="x", shape=(RATE,), dtype="int16", features=(*features, Reshape(shape=(flat.shape[1],)))
        )
        stage = StageSpec(
            name=name, file=f"{name}.onnx", format="onnx", inputs=(spec,), labels=("other", "word"),
            output=OutputSpec(kind="classes", activation="sigmoid"),
            costs=Costs(multiply_adds=sum(weights.size for weights, _ in layers)),
        )  # fmt: skip
        raw = dense_onnx(flat.mean(0), flat.std(0), layers)
        stages.append((stage, raw, GateSpec("confidence", sure, ("other",))))
    return one_tier(folder, "seven", stages)


def windows(clips: Clips, label: int, per_clip: int = 6) -> tuple[Array, Array]:
    """Seconds of a stream: the word with its end in the last 0.4 s; anything else, words cut in two and noise too."""
    dice, sounds, wanted = np.random.default_rng(3), [], []
    for sound, each in zip(clips.sounds, clips.labels, strict=True):
        for turn in range(per_clip):
            after_s = dice.uniform(0.02, 0.4) if turn % 3 else dice.uniform(-0.4, 1.0)
            scene = dice.normal(size=3 * RATE) * dice.choice([0.0, 0.003, 0.01, 0.03])
            loud = sound[: 2 * RATE] * dice.uniform(0.2, 0.9)
            end = 2 * RATE
            scene[end - len(loud) : end] += loud
            neighbour = clips.sounds[int(dice.integers(len(clips.sounds)))][:RATE] * dice.uniform(0.2, 0.9)
            before = end - len(loud) - int(dice.uniform(0.25, 1.0) * RATE)
            begin = max(0, before - len(neighbour))
            scene[begin:before] += neighbour[len(neighbour) - max(0, before - begin) :] if before > begin else 0.0
            cut = end + int(after_s * RATE)
            sounds.append((scene[cut - RATE : cut].clip(-1, 1) * 32767).astype(np.int16))
            wanted.append(each == label and 0.0 <= after_s <= 0.4)
    noise = [
        (dice.normal(size=RATE) * dice.choice([0.0, 0.003, 0.01, 0.03]) * 32767).astype(np.int16) for _ in range(300)
    ]
    return np.stack(sounds + noise), np.array(wanted + [False] * len(noise))


def dense_onnx(mean: Array, deviation: Array, layers: list[tuple[Any, Any]]) -> bytes:
    """Layers with a ramp between them, and the number before the sigmoid as output. The scaling is in the first."""
    from onnx import TensorProto, helper, numpy_helper

    first, bias = layers[0]
    layers = [(first / deviation[:, None], bias - (mean / deviation) @ first), *layers[1:]]
    nodes, weights, at = [], [], "x"
    for number, (matrix, offset) in enumerate(layers):
        weights += [
            numpy_helper.from_array(np.asarray(matrix, np.float32), f"w{number}"),
            numpy_helper.from_array(np.asarray(offset, np.float32), f"b{number}"),
        ]
        last = number == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [at, f"w{number}", f"b{number}"], ["y" if last else f"h{number}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{number}"], [f"r{number}"]))
            at = f"r{number}"
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(mean)])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "dense", [given], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
