"""NAB's series, one value at a time: a small detector by distance, a larger one by shape, on series apart.

    CASCADE_DATA=… python examples/pump_anomaly/nab.py

Each window is told in its own spreads inside the model, so that one release serves series of every unit. Of four series
two are learned from, one is for choosing, one is the test.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from recordings import DAY_S, Array
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.adapters.world import InMemoryCascade
from cascade.messages import AnomalyScore
from cascade.release.bundle import BundleManifest, Costs, InputSpec, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.ladder import GateSpec

FILE = "nab/nab_design.npz"
WINDOW, STEP, RECENT = 96, 8, 4
LEAST_SPREAD = 1e-3
HIDDEN, WEIGHT_DECAY = 16, 30.0
STEEP = {"edge": 2.0, "cloud": 1.0}


class Series(NamedTuple):
    name: str
    windows: Array
    truth: Array
    """Of each window: whether its last values lie in one of NAB's windows around an anomaly."""
    seconds: float
    """From one window to the next."""


class Found(NamedTuple):
    """By windows of anomalies, as NAB has them: one is found if anything is said within it."""

    found: int
    there: int
    false: int
    """Times that something begins to be said outside of them."""
    per_day: float

    @property
    def f1(self) -> float:
        return 2 * self.found / max(1, self.found + self.there + self.false)


def series_in(path: Path) -> list[Series]:
    made = []
    with np.load(path, allow_pickle=False) as file:
        for index, name in enumerate(file["names"]):
            times, values, inside = (file[f"{kind}{index:02d}"] for kind in "tvw")
            ends = np.arange(WINDOW, len(values) + 1, STEP)
            windows = np.stack([values[end - WINDOW : end] for end in ends]).astype(np.float32)
            made.append(Series(str(name), windows, inside[ends - 1], float(np.median(np.diff(times))) * STEP))
    return made


def in_spreads(windows: Array) -> Array:
    middle, spread = windows.mean(1, keepdims=True), windows.std(1, keepdims=True)
    told: Array = (windows - middle) / (spread + LEAST_SPREAD)
    return told


def distance(windows: Array) -> Array:
    far: Array = np.abs(in_spreads(windows)[:, -RECENT:].mean(1))
    return far


def network(series: list[Series]) -> MLPClassifier:
    windows, truth = np.concatenate([s.windows for s in series]), np.concatenate([s.truth for s in series])
    model = MLPClassifier((HIDDEN,), alpha=WEIGHT_DECAY, max_iter=10, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(in_spreads(windows), truth)


def shape_sum(model: MLPClassifier, windows: Array) -> Array:
    hidden = np.maximum(in_spreads(windows) @ model.coefs_[0] + model.intercepts_[0], 0)
    total: Array = (hidden @ model.coefs_[1] + model.intercepts_[1])[:, 0]
    return total


def counted(series: list[Series], said: list[Array]) -> Found:
    found = there = false = 0
    days = 0.0
    for each, words in zip(series, said, strict=True):
        edges = np.flatnonzero(np.diff(each.truth.astype(int), prepend=0, append=0)).reshape(-1, 2)
        there += len(edges)
        found += sum(bool(words[first:last].any()) for first, last in edges)
        starts = np.flatnonzero(np.diff(words.astype(int), prepend=0) == 1)
        false += int((~each.truth[starts]).sum())
        days += float((~each.truth).sum()) * each.seconds / DAY_S
    return Found(found, there, false, false / max(days, 1e-9))


def best_limit(series: list[Series], sums: list[Array]) -> float:
    every = np.concatenate(sums)
    limits = np.quantile(every, np.linspace(0.8, 0.9995, 60))
    return float(max(limits, key=lambda limit: counted(series, [each >= limit for each in sums]).f1))


def as_onnx(tier: str, limit: float, model: MLPClassifier) -> bytes:
    """Says the sum less its limit, steeper where sums are small numbers."""
    constants: list[Any] = []

    def constant(name: str, array: Any, dtype: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [output], **attributes)

    nodes = [
        node("ReduceMean", ["values"], "middle", axes=[1], keepdims=1),
        node("Sub", ["values", "middle"], "off"),
        node("Mul", ["off", "off"], "squares"),
        node("ReduceMean", ["squares"], "variance", axes=[1], keepdims=1),
        node("Sqrt", ["variance"], "spread"),
        node("Add", ["spread", constant("least", [LEAST_SPREAD])], "some_spread"),
        node("Div", ["off", "some_spread"], "told"),
    ]
    if tier == "edge":
        begin, end, axis = (
            constant(n, [v], np.int64) for n, v in (("begin", WINDOW - RECENT), ("end", WINDOW), ("axis", 1))
        )
        nodes += [
            node("Slice", ["told", begin, end, axis], "last"),
            node("ReduceMean", ["last"], "recent", axes=[1], keepdims=1),
            node("Abs", ["recent"], "sum"),
        ]
    else:
        first, then = ([constant(f"w{i}", model.coefs_[i]), constant(f"b{i}", model.intercepts_[i])] for i in (0, 1))
        nodes += [
            node("Gemm", ["told", *first], "before"),
            node("Relu", ["before"], "hidden"),
            node("Gemm", ["hidden", *then], "sum"),
        ]
    nodes += [
        node("Sub", ["sum", constant("limit", [limit])], "over"),
        node("Mul", ["over", constant("steep", [STEEP[tier]])], "score"),
    ]
    values = helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", WINDOW])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1])
    made = helper.make_model(
        helper.make_graph(nodes, "nab", [values], [score], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def sure_from(series: list[Series], here: list[Array], above: list[Array]) -> float:
    """The lowest confidence of the device with which the cascade's F1 is at most 0.01 below that of the one above."""
    wanted = counted(series, [each >= 0 for each in above]).f1 - 0.01
    for confidence in np.arange(0.0, 0.99, 0.02):
        least = np.log((1 + confidence) / (1 - confidence)) / STEEP["edge"]
        said = [np.where(np.abs(a) >= least, a >= 0, b >= 0) for a, b in zip(here, above, strict=True)]
        if counted(series, said).f1 >= wanted:
            return float(round(confidence, 2))
    return 0.99


def write(folder: Path, models: dict[Tier, bytes], gates: dict[Tier, GateSpec], hidden: int = HIDDEN) -> None:
    costs = {"edge": 4 * WINDOW, "cloud": WINDOW * (hidden + 4)}
    entries = []
    for tier, model in models.items():
        stage = StageSpec(
            name="detector",
            file="model.onnx",
            format="onnx",
            inputs=(InputSpec(tensor="values", shape=(WINDOW,)),),
            output=OutputSpec(kind="anomaly", tensor="score", activation="sigmoid"),
            costs=Costs(multiply_adds=costs[tier], bytes_moved=4 * costs[tier]),
        )
        manifest = BundleManifest(format=1, name=f"nab-{tier}", task="nab", tier=tier, stages=(stage,), files={})
        write_bundle(folder / tier, manifest, {"model.onnx": model})
        entries.append(StageGate(tier=tier, stage="detector", gate=gates[tier]))
    write_release(folder, "nab", "nab", entries)


def asked(release: Path, series: list[Series]) -> tuple[list[Array], float, float]:
    said = []
    with InMemoryCascade(release) as cascade:
        for each in series:
            answers = [cascade.ask(window, final=True).prediction for window in each.windows]
            said.append(np.array([one.anomalous for one in answers if isinstance(one, AnomalyScore)]))
        totals = cascade.totals()
    return said, totals.answered_by.get("edge", 0) / totals.questions, totals.bytes_up["edge"] / totals.questions


def measured(release: Path, series: list[Series]) -> list[tuple[str, Found, float, float]]:
    learn = [each for index, each in enumerate(series) if index % 4 < 2]
    choose, test = series[2::4], series[3::4]
    model = network(learn)
    here, above = [distance(s.windows) for s in choose], [shape_sum(model, s.windows) for s in choose]
    # The distance has learned nothing, so all series but the test's can choose its limit.
    distances = [distance(s.windows) for s in learn + choose]
    limits: dict[Tier, float] = {"edge": best_limit(learn + choose, distances), "cloud": best_limit(choose, above)}
    gate = sure_from(choose, [each - limits["edge"] for each in here], [each - limits["cloud"] for each in above])
    models: dict[Tier, bytes] = {tier: as_onnx(tier, limit, model) for tier, limit in limits.items()}
    rows = []
    specs = {"device only": GateSpec("always"), "cloud only": GateSpec("never")}
    for system, spec in (*specs.items(), ("cascade", GateSpec("confidence", gate))):
        write(release, models, {"edge": spec, "cloud": GateSpec("always")})
        said, on_device, bytes_up = asked(release, test)
        rows.append((system, counted(test, said), on_device, bytes_up))
    return rows


def main() -> None:
    if "CASCADE_DATA" not in os.environ:
        print("pump_anomaly, NAB: CASCADE_DATA is not set, nothing was measured")
        return
    series = series_in(Path(os.environ["CASCADE_DATA"]) / FILE)
    with tempfile.TemporaryDirectory() as temporary:
        rows = measured(Path(temporary), series)
    print("| NAB | found | F1 | false alarms a day | on the device | bytes up per window |")
    print("|---|---|---|---|---|---|")
    for system, found, on_device, size in rows:
        words = f"{found.found} of {found.there} | {found.f1:.2f} | {found.per_day:.2f}"
        print(f"| {system} | {words} | {on_device:.1%} | {size:.0f} |")


if __name__ == "__main__":
    main()
