"""What gate and hop take of an answer in line, beside one call of the model itself.

    python -m benchmarks.gate_and_hop [--rounds N] [--quick] [--out FILE.json]

Between the two turns of the hop (a question comes in; its prediction is weighed and answered) its model runs, as it
does in life: so the hop finds the caches as a model leaves them. Reading the input, metrics, spool and journal are not
in it: `benchmarks.in_line` has all of the agent. Three small models: the digits of the demo, the keyword model of
MLPerf Tiny where `CASCADE_DATA` names it, and the network of the other benchmarks.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.command import Subject, main
from benchmarks.models import write_cnn_release
from benchmarks.processes import ROOT
from benchmarks.rounds import Effort, Tell
from cascade.adapters.backends import engine
from cascade.adapters.backends.backend import EngineSettings, Model
from cascade.inference.effects import Reply
from cascade.inference.events import Asked, LadderInstalled, LinkUp, Predicted
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.messages import ClassScores, Question, Tensor
from cascade.release.ladder import GateSpec, Ladder, LadderStage

CALLS = 400
"""In one round."""
AIM = 1 / 3
KEYWORDS = "mlperf-tiny/models/kws_ref_model.tflite"
SURE = ClassScores((0.95, *[0.05 / 9] * 9))


def measure(effort: Effort, tell: Tell) -> dict[str, Any]:
    taken: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = _models(Path(folder))
        for name, model in models.items():
            _round(model, 50)
            taken[name] = []
        for number in range(effort.rounds):
            for name, model in models.items():
                taken[name].append(_round(model, effort.of(CALLS)))
            tell(f"  round {number + 1}: " + ", ".join(f"{name} {each[-1][1]:.0f} µs" for name, each in taken.items()))
        for model in models.values():
            model.close()
    return {name: _row(each) for name, each in taken.items()}


def _models(folder: Path) -> dict[str, Model]:
    found = {
        "digits of the demo": engine("onnx").load(ROOT / "examples/digits/release/edge/model.onnx", EngineSettings())
    }
    keywords = Path(os.environ.get("CASCADE_DATA", "/nonexistent")) / KEYWORDS
    if keywords.exists() and engine("tflite").missing() is None:
        found["MLPerf Tiny keywords"] = engine("tflite").load(keywords, EngineSettings())
    for form in ("tflite", "onnx"):
        release = write_cnn_release(folder / form, form)
        found[f"CNN of 100k, {form}"] = engine(form).load(release / "edge" / f"model.{form}", EngineSettings())
    return found


def _round(model: Model, calls: int) -> tuple[float, float]:
    """Medians, in microseconds: of the model's call, and of both turns of the hop."""
    inputs = {each.name: np.zeros([1, *[size or 1 for size in each.shape[1:]]], each.dtype) for each in model.inputs}
    hop = Hop(HopSettings(node="bench.device", tier="edge"), UplinkSettings())
    hop.handle(LinkUp(), 0.0)
    stage = LadderStage(
        name="small",
        kind="classes",
        gate=GateSpec("confidence", 0.8),
        labels=tuple(f"{number}" for number in range(10)),
    )
    hop.handle(LadderInstalled(Ladder(task="bench", release="r", stages=(stage,))), 0.0)
    in_model, in_hop = [], []
    for number in range(calls):
        asked = Asked(_question(number), "", alone=True)
        began = perf_counter()
        (run,) = [effect for effect in hop.handle(asked, 0.0) if hasattr(effect, "run")]
        given = perf_counter()
        model.run(inputs)
        ran = perf_counter()
        effects = hop.handle(Predicted(run.run, (SURE,), ms=0.1), 0.0)
        ended = perf_counter()
        assert any(isinstance(effect, Reply) for effect in effects)
        in_model.append((ran - given) * 1e6)
        in_hop.append((given - began + ended - ran) * 1e6)
    return median(in_model), median(in_hop)


def _question(number: int) -> Question:
    return Question(
        id=str(number), device="bench.device", stream="s", sequence=number, task="bench", release="r",
        payload=(Tensor("x", "uint8", (1,), b"x"),), ms_left=1000.0,
    )  # fmt: skip


def _row(rounds: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "model_us": median(each[0] for each in rounds),
        "hop_us": median(each[1] for each in rounds),
        "share": median(hop / model for model, hop in rounds),
    }


def table(result: dict[str, Any]) -> str:
    lines = [f"  {'':24}{'model, µs':>12}{'gate and hop, µs':>18}{'share':>8}"]
    for name, row in result.items():
        aim = "" if row["share"] <= AIM else "  more than a third"
        lines.append(f"  {name:24}{row['model_us']:12.1f}{row['hop_us']:18.1f}{row['share']:8.2f}{aim}")
    return "\n".join(lines)


SUBJECT = Subject("gate_and_hop", "Gate and hop beside one call of a small model", measure, table)

if __name__ == "__main__":
    main(SUBJECT, __doc__)
