"""The model of the comparisons: a CNN of about 100,000 parameters on 28×28 floats, whose confidence the input sets.

The network does all its work; then its logits are made so small that two pixels of the input decide how sure it is. So
half of the inputs leave the edge and half of those leave the fog, exactly, in every system that runs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import TIERS, BundleManifest, Costs, InputSpec, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.ladder import GateSpec

TENSOR, SIDE, CLASSES, THRESHOLD = "image", 28, 10, 0.8
PIXEL = {"edge": 0, "fog": 1, "cloud": 2}
"""Of the first row: 1 there means that this tier is sure."""


def cnn(tier: str) -> bytes:
    chance = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((chance.standard_normal(shape) * 0.1).astype(np.float32), name)

    pick = np.zeros((SIDE * SIDE, CLASSES), np.float32)
    pick[PIXEL[tier], 3] = 9.0
    weights = [
        weight("c1", 16, 1, 3, 3), weight("c2", 32, 16, 3, 3), weight("d1", 32 * 7 * 7, 60), weight("d2", 60, CLASSES),
        numpy_helper.from_array(pick, "pick"),
        numpy_helper.from_array(np.array(1e-6, np.float32), "tiny"),
        numpy_helper.from_array(np.array([-1, 1, SIDE, SIDE], np.int64), "as_image"),
        numpy_helper.from_array(np.array([-1, SIDE * SIDE], np.int64), "as_row"),
        numpy_helper.from_array(np.array([-1, 32 * 7 * 7], np.int64), "as_features"),
    ]  # fmt: skip
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Reshape", [TENSOR, "as_image"], ["x"]),
        helper.make_node("Conv", ["x", "c1"], ["a1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], **pool),
        helper.make_node("Conv", ["p1", "c2"], ["a2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], **pool),
        helper.make_node("Reshape", ["p2", "as_features"], ["f"]),
        helper.make_node("MatMul", ["f", "d1"], ["h"]),
        helper.make_node("Relu", ["h"], ["hr"]),
        helper.make_node("MatMul", ["hr", "d2"], ["logits"]),
        helper.make_node("Mul", ["logits", "tiny"], ["small"]),
        helper.make_node("Reshape", [TENSOR, "as_row"], ["row"]),
        helper.make_node("MatMul", ["row", "pick"], ["chosen"]),
        helper.make_node("Add", ["small", "chosen"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info(TENSOR, TensorProto.FLOAT, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def model_of(tier: str, form: str) -> bytes:
    if form == "onnx":
        return cnn(tier)
    if form == "scripted":
        scores = [0.91 if number == 3 else 0.01 for number in range(CLASSES)]
        shapes = {"inputs": {TENSOR: [SIDE, SIDE]}, "outputs": {"scores": [CLASSES]}}
        return json.dumps({"script": "fixed", **shapes, "values": {"scores": scores}}).encode()
    from benchmarks.tflite_model import tflite_cnn  # LiteRT is not everywhere

    return tflite_cnn(tier)


def write_cnn_release(folder: Path, form: str = "onnx") -> Path:
    """`form`: onnx; tflite, which takes one sample at a time; or scripted, which takes no time and is always sure."""
    file, gates = f"model.{form}", []
    for tier in TIERS:
        stage = StageSpec(
            name="cnn",
            file=file,
            format=form,
            inputs=(InputSpec(tensor=TENSOR, shape=(SIDE, SIDE)),),
            output=OutputSpec(kind="classes"),
            labels=tuple(str(number) for number in range(CLASSES)),
            costs=Costs(multiply_adds=1_130_000, bits=32, bytes_moved=400_000),
        )
        manifest = BundleManifest(
            format=1, name=f"cnn-{tier}", task="bench", tier=cast(Tier, tier), stages=(stage,), files={}
        )
        write_bundle(folder / tier, manifest, {file: model_of(tier, form)})
        gate = GateSpec("always") if tier == "cloud" else GateSpec("confidence", THRESHOLD)
        gates.append(StageGate(tier=cast(Tier, tier), stage="cnn", gate=gate))
    write_release(folder, "cnn", "bench", gates)
    return folder


def inputs(count: int = 64) -> list[npt.NDArray[np.float32]]:
    """Half are for the edge, a quarter for the fog, a quarter for the cloud, in turn."""
    chance = np.random.default_rng(2)
    made = []
    for number in range(count):
        image = chance.random((SIDE, SIDE), dtype=np.float32)
        image[0, :3] = ((1, 1, 1), (0, 1, 1), (1, 1, 1), (0, 0, 1))[number % 4]
        made.append(image)
    return made
