"""Makes the release of this example: a statistical detector on the device, one that has learned from faults above.

    CASCADE_DATA=… python examples/pump_anomaly/train.py [--out examples/pump_anomaly/release]
    python examples/pump_anomaly/train.py --made-up

The device's knows only how the pump is when it is well (Hotelling's T² of the last 20 seconds' means). The one above
averages over two lengths and has learned which way faults go. Runs to learn from, to choose on and to test on are
apart. Beside the release lie `rows.npz`, what the sensors give in the test, as the agent of `edge.toml` reads it, and
`windows.npz`, the same as windows with what is right of each, as `cascade evaluate evaluate.toml` asks about them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from recordings import SKAB_FILE, WINDOW, Array, Run, Runs, folder, made_up, test_bed
from sklearn.linear_model import LogisticRegression

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import BundleManifest, Costs, InputSpec, Lineage, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Check

HERE = Path(__file__).parent
RECENT = 20
LENGTHS = (10, 20)
FURTHEST = 5.0
"""Spreads: what is further off says no more than this."""
RIDGE = 0.02
WORSE_F1 = 0.01
"""The cascade's F1 of windows may be so much worse than the upper detector's, on the runs for choosing."""
THRESHOLDS = np.round(np.arange(0.0, 0.9901, 0.02), 2)


def means(windows: Array, rows: int) -> Array:
    bounded: Array = np.clip(windows, -FURTHEST, FURTHEST)
    return bounded[:, -rows:].mean(axis=1)


def together(runs: list[Run]) -> tuple[Array, Array]:
    return np.concatenate([run.windows for run in runs]), np.concatenate([run.truth for run in runs])


class Statistical:
    """How far the last means lie from the well pump's, by their covariance; and what that distance says."""

    multiply_adds = WINDOW * 8 + 8 * 8 + 8

    def __init__(self, windows: Array, anomalous: Array) -> None:
        well = means(windows[~anomalous], RECENT)
        self.middle = well.mean(0)
        self.inverse = np.linalg.inv(np.cov(well.T) + RIDGE * np.eye(8))
        fitted = LogisticRegression(C=0.1).fit(self._distance(windows), anomalous)
        self.slope, self.offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])

    def _distance(self, windows: Array) -> Array:
        off = means(windows, RECENT) - self.middle
        distance: Array = np.log(1.0 + ((off @ self.inverse) * off).sum(1, keepdims=True))
        return distance

    def __call__(self, windows: Array) -> Array:
        return sigmoid(self.slope * self._distance(windows)[:, 0] + self.offset)

    def as_onnx(self) -> bytes:
        graph = Graph()
        graph.mean(RECENT, "recent")
        graph.add("Sub", ["recent", graph.constant("middle", self.middle)], "off")
        graph.add("MatMul", ["off", graph.constant("inverse", self.inverse)], "turned")
        graph.add("Mul", ["turned", "off"], "parts")
        graph.add("ReduceSum", ["parts", graph.constant("axis", [1], np.int64)], "square", keepdims=1)
        graph.add("Add", ["square", graph.constant("one", [1.0])], "more")
        graph.add("Log", ["more"], "distance")
        graph.add("Mul", ["distance", graph.constant("slope", [self.slope])], "steep")
        graph.add("Add", ["steep", graph.constant("offset", [self.offset])], "score")
        return graph.written()


class Learned:
    """Averages over two lengths (box-shaped convolutions, at their last place), weighed as faults taught it."""

    multiply_adds = len(LENGTHS) * (WINDOW * 8 + 8)

    def __init__(self, windows: Array, anomalous: Array) -> None:
        fitted = LogisticRegression(C=0.1, max_iter=3000).fit(self._averages(windows), anomalous)
        self.weights, self.offset = fitted.coef_[0], float(fitted.intercept_[0])

    @staticmethod
    def _averages(windows: Array) -> Array:
        return np.concatenate([means(windows, rows) for rows in LENGTHS], axis=1)

    def __call__(self, windows: Array) -> Array:
        return sigmoid(self._averages(windows) @ self.weights + self.offset)

    def as_onnx(self) -> bytes:
        graph = Graph()
        graph.add("Concat", [graph.mean(rows, f"last{rows}") for rows in LENGTHS], "averages", axis=1)
        weights = [graph.constant("weights", self.weights[:, None]), graph.constant("offset", [self.offset])]
        graph.add("Gemm", ["averages", *weights], "score")
        return graph.written()


def sigmoid(sums: Array) -> Array:
    shares: Array = 1.0 / (1.0 + np.exp(-sums))
    return shares


class Graph:
    """An ONNX graph that reads a window of rows and says one number."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.add("Clip", ["rows", self.constant("least", -FURTHEST), self.constant("most", FURTHEST)], "bounded")
        self.constant("time", [1], np.int64)
        self.constant("end", [WINDOW], np.int64)

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def mean(self, rows: int, name: str) -> str:
        self.add(
            "Slice",
            ["bounded", self.constant(f"{name}_from", [WINDOW - rows], np.int64), "end", "time"],
            f"{name}_rows",
        )
        self.add("ReduceMean", [f"{name}_rows"], name, axes=[1], keepdims=0)
        return name

    def written(self) -> bytes:
        rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", WINDOW, 8])
        score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1])
        graph = helper.make_graph(self._nodes, "pump", [rows], [score], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def f1(truth: Array, called: Array) -> float:
    both = int((truth & called).sum())
    return 2 * both / max(1, int(truth.sum()) + int(called.sum()))


def threshold(here: Array, above: Array, truth: Array) -> float:
    """The lowest confidence from which on the device may answer: 0 on the limit, 1 where nothing could be surer."""
    wanted = f1(truth, above >= 0.5) - WORSE_F1
    for confidence in THRESHOLDS:
        sure = np.abs(2 * here - 1) >= confidence
        if f1(truth, np.where(sure, here, above) >= 0.5) >= wanted:
            return float(confidence)
    return float(THRESHOLDS[-1])


def main(out: Path, runs: Runs) -> None:
    windows, faulty = together(runs.learn)
    models: dict[Tier, Any] = {"edge": Statistical(windows, faulty), "cloud": Learned(windows, faulty)}
    chosen, truth = together(runs.choose)
    gate = GateSpec("confidence", threshold(models["edge"](chosen), models["cloud"](chosen), truth))
    gates = []
    for tier, model in models.items():
        name = "statistical" if tier == "edge" else "learned"
        stage = StageSpec(
            name=name,
            file="model.onnx",
            format="onnx",
            inputs=(InputSpec(tensor="rows", shape=(WINDOW, 8), dtype="float32", features=(Check(),)),),
            output=OutputSpec(kind="anomaly", tensor="score", activation="sigmoid"),
            costs=Costs(multiply_adds=model.multiply_adds, bits=32, bytes_moved=4 * model.multiply_adds),
        )
        lineage = Lineage(made_by="examples/pump_anomaly/train.py", made_from=("SKAB",))
        manifest = BundleManifest(
            format=1, name=f"pump-{tier}", task="pump", tier=tier, stages=(stage,), files={}, lineage=lineage
        )
        write_bundle(out / tier, manifest, {"model.onnx": model.as_onnx()})
        gates.append(StageGate(tier=tier, stage=name, gate=gate if tier == "edge" else GateSpec("always")))
    write_release(out, "pump", "pump", gates)
    np.savez_compressed(out / "rows.npz", rows=np.concatenate([run.rows for run in runs.test])[:, None, :])
    tested, anomalous = together(runs.test)
    np.savez_compressed(out / "windows.npz", rows=tested, labels=np.where(anomalous, "anomaly", "normal"))
    print(
        f"learned from {len(windows):,} windows of {len(runs.learn)} runs; the device answers from {gate.threshold} on"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "release")
    parser.add_argument("--made-up", action="store_true", help="a small pump that is made up, without CASCADE_DATA")
    wanted = parser.parse_args()
    main(wanted.out, made_up() if wanted.made_up else test_bed(folder() / SKAB_FILE))
