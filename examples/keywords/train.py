"""Makes the release of this example: MLPerf Tiny's int8 model on the device as it is, one above that knows more.

    CASCADE_DATA=… python examples/keywords/train.py [--turn 0] [--out examples/keywords]

The model above is the float model of MLPerf Tiny up to its last layer, its means and its maxima, and a layer of 256
that is trained here on 500 of the official inputs. Beside the release lie `calibrate.npz` and `test.npz`: clips that
nothing here has looked at.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from clips import LABELS, SCALE, TURNS, ZERO, Array, Clips, Source, official, split
from ds_cnn import COEFFICIENTS, FRAMES, Dense, Layer, as_onnx, multiply_adds
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import BundleManifest, Costs, InputSpec, Lineage, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Check, Dequantise, Reshape

HERE = Path(__file__).parent
HIDDEN, WEIGHT_DECAY = 256, 5.0
"""Chosen by cross-validation on every second of the thousand clips."""
SHIFTS = (-4, -2, 0, 2, 4)
"""Frames of 20 ms: the same word a little sooner or later is the same word."""
UNTIL_CALIBRATED = 0.9


def shifted(mfcc: Array, frames: int) -> Array:
    """The ends repeat themselves."""
    return mfcc[:, np.clip(np.arange(mfcc.shape[1]) - frames, 0, mfcc.shape[1] - 1)]


def trained(ears: list[Layer], clips: Clips) -> Dense:
    session = onnxruntime.InferenceSession(as_onnx(ears), providers=["CPUExecutionProvider"])
    mfcc = ((clips.x.astype(np.float32) - ZERO) * SCALE).astype(np.float32)
    heard = np.concatenate([session.run(None, {"mfcc": shifted(mfcc, frames)})[0] for frames in SHIFTS])
    mean, deviation = heard.mean(0), heard.std(0) + 1e-3
    network = MLPClassifier((HIDDEN,), alpha=WEIGHT_DECAY, max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit((heard - mean) / deviation, np.tile(clips.label, len(SHIFTS)))
    if list(network.classes_) != list(range(len(LABELS))):
        raise SystemExit(f"clips of {len(network.classes_)} words to train on, expected all {len(LABELS)}")
    return Dense(mean, deviation, list(zip(network.coefs_, network.intercepts_, strict=True)))


def bundle(tier: Tier, stage: StageSpec) -> BundleManifest:
    lineage = Lineage(made_by="examples/keywords/train.py", made_from=("MLPerf Tiny keyword spotting",))
    return BundleManifest(
        format=1, name=f"keywords-{tier}", task="keyword", tier=tier, stages=(stage,), files={}, lineage=lineage
    )


def stage(name: str, file: str, form: str, features: tuple[Any, ...], costs: Costs) -> StageSpec:
    spec = InputSpec(tensor="mfcc", shape=(FRAMES, COEFFICIENTS), dtype="int8", features=features)
    return StageSpec(
        name=name, file=file, format=form, inputs=(spec,), output=OutputSpec(kind="classes"), labels=LABELS, costs=costs
    )


def write(folder: Path, source: Source, turn: int = 0) -> None:
    """The release in `folder/release`, until it is calibrated with a threshold by feel."""
    parts = split(source.clips, turn)
    dense = trained(source.ears, parts.train)
    above = as_onnx(source.ears, dense)
    edge_file, sums = f"model.{source.edge_format}", multiply_adds(source.ears)
    ready = (Check(clipped_share=0.2), Dequantise(scale=SCALE, zero_point=ZERO))
    shaped = (*ready, Reshape(shape=(FRAMES, COEFFICIENTS, 1))) if source.edge_format == "tflite" else ready
    edge = stage(
        "ds-cnn-int8", edge_file, source.edge_format, shaped,
        Costs(multiply_adds=sums, bits=8, bytes_moved=len(source.edge)),
    )  # fmt: skip
    more = sums + sum(weights.size for weights, _ in dense.layers)
    cloud = stage("ds-cnn-more", "model.onnx", "onnx", ready, Costs(multiply_adds=more, bytes_moved=len(above)))
    release = folder / "release"
    write_bundle(release / "edge", bundle("edge", edge), {edge_file: source.edge})
    write_bundle(release / "cloud", bundle("cloud", cloud), {"model.onnx": above})
    gates = [
        StageGate(tier="edge", stage=edge.name, gate=GateSpec("confidence", UNTIL_CALIBRATED)),
        StageGate(tier="cloud", stage=cloud.name, gate=GateSpec("always")),
    ]
    write_release(release, "keywords", "keyword", gates)
    parts.calibrate.save(folder / "calibrate.npz")
    parts.test.save(folder / "test.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="a folder, in which `release` and the clips will lie")
    parser.add_argument("--turn", type=int, default=0, choices=range(TURNS), help="which fifth is tested on")
    options = parser.parse_args()
    if "CASCADE_DATA" not in os.environ:
        raise SystemExit("CASCADE_DATA is not set: it names the folder in which mlperf-tiny is")
    write(options.out, official(Path(os.environ["CASCADE_DATA"])), options.turn)
    print(f"{options.out / 'release'}: written, with calibrate.npz and test.npz beside it")


if __name__ == "__main__":
    main()
