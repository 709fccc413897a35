"""Trains the three models of this example on scikit-learn's handwritten digits, and writes them as a release.

    python examples/digits/train.py            writes examples/digits/release

Needs `pip install '.[demo]' onnx` in the folder of this repository: scikit-learn trains, onnx writes what is run.
Split once, with a fixed seed: 60 % to train on, 15 % to choose thresholds on, 25 % that nothing here ever looks at but
for the table at the end, and that the demo replays.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import (
    BundleManifest,
    Costs,
    InputSpec,
    Lineage,
    Normalise,
    OutputSpec,
    StageGate,
    StageSpec,
)
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Check
from cascade_cli.demo.digits import SEED, Split, splits

HERE = Path(__file__).parent
LABELS = tuple(str(digit) for digit in range(10))
SIZES = {"edge": (6,), "fog": (8,), "cloud": (256, 128)}
"""Hidden layers of each tier's network. Those below are as small as they are on purpose: they must have to ask."""
WEIGHT_DECAY = {"edge": 1.0, "fog": 0.01, "cloud": 0.1}
"""Chosen, like the sizes, on the images for choosing."""
AT_LEAST_AS_GOOD_ABOVE = 0.005
"""A threshold is the lowest one under which what is answered here is this close to what the cloud would have said."""


def flat(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return images.reshape(len(images), 64).astype(np.float32) / 16.0


def trained(tier: str, split: Split) -> MLPClassifier:
    network = MLPClassifier(SIZES[tier], alpha=WEIGHT_DECAY[tier], max_iter=3000, random_state=SEED)
    return network.fit(flat(split.images), split.labels)


def as_onnx(network: MLPClassifier) -> bytes:
    """A chain of matrix multiplications; scikit-learn's networks are no more than that."""
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["h0"])]
    weights = [numpy_helper.from_array(np.array([-1, 64], dtype=np.int64), "shape")]
    last = len(network.coefs_) - 1
    for layer, (weight, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        weights += [
            numpy_helper.from_array(weight.astype(np.float32), f"w{layer}"),
            numpy_helper.from_array(bias.astype(np.float32), f"b{layer}"),
        ]
        out = f"h{layer + 1}"
        nodes.append(helper.make_node("Gemm", [f"h{layer}", f"w{layer}", f"b{layer}"], [f"{out}_sum"]))
        kind = "Softmax" if layer == last else "Relu"
        nodes.append(helper.make_node(kind, [f"{out}_sum"], ["scores" if layer == last else out]))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def threshold(network: MLPClassifier, cloud: MLPClassifier, split: Split) -> float:
    """The lowest confidence above which this network errs hardly more than the cloud's, on images kept for choosing."""
    scores = network.predict_proba(flat(split.images))
    right = scores.argmax(1) == split.labels
    right_above = cloud.predict(flat(split.images)) == split.labels
    for confidence in np.arange(0.3, 0.9951, 0.005):
        sure = scores.max(1) >= confidence
        if (right_above & sure).mean() - (right & sure).mean() <= AT_LEAST_AS_GOOD_ABOVE:
            return float(round(confidence, 3))
    return 0.995


def bundle(tier: Any, network: MLPClassifier) -> BundleManifest:
    multiply_adds = sum(weight.size for weight in network.coefs_)
    stage = StageSpec(
        name=f"mlp-{'-'.join(str(size) for size in SIZES[tier])}",
        file="model.onnx",
        format="onnx",
        inputs=(InputSpec(tensor="image", shape=(8, 8), dtype="uint8", features=(Check(), Normalise(divide=16.0))),),
        output=OutputSpec(kind="classes"),
        labels=LABELS,
        costs=Costs(multiply_adds=multiply_adds, bits=32, bytes_moved=4 * multiply_adds),
    )
    lineage = Lineage(made_by="examples/digits/train.py", made_from=("scikit-learn load_digits",))
    return BundleManifest(
        format=1, name=f"digits-{tier}", task="digits", tier=tier, stages=(stage,), files={}, lineage=lineage
    )


def write(folder: Path) -> None:
    train, choose, test = splits()
    networks = {tier: trained(tier, train) for tier in SIZES}
    gates = []
    for tier, network in networks.items():
        made = write_bundle(folder / tier, bundle(tier, network), {"model.onnx": as_onnx(network)})
        gate = GateSpec("always")
        if tier != "cloud":
            gate = GateSpec("confidence", threshold(network, networks["cloud"], choose))
        gates.append(StageGate(tier=tier, stage=made.manifest.stages[0].name, gate=gate))
        size = made.manifest.files["model.onnx"].bytes
        accuracy = network.score(flat(test.images), test.labels)
        print(f"{tier:5} {size:8,} bytes, right {accuracy:.3f} of {len(test.labels)}, {gate.name} {gate.threshold}")
    write_release(folder, "digits", "digits", gates)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "release")
    write(parser.parse_args().out)
