"""The model that looks at a stream: what one of its looks is taken to cost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.adapters.stage_look import LookRan
from cascade.inference.watch_words import Look, Looked, WatchSettings
from cascade.release.bundle import BundleManifest, Costs, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.costs import whole_costs
from cascade.release.ladder import GateSpec
from cascade.release.spectra import LogMel
from cascade.tally import Tally
from edge_agent.waker import Waker

WINDOW = 800


@pytest.fixture
def release(tmp_path: Path):
    features = LogMel(rate_hz=8000, frame=200, hop=100, bands=10)
    asked = InputSpec(tensor="sound", shape=(WINDOW,), dtype="int16", features=(features,))
    script = {"script": "fixed", "inputs": {"sound": list(asked.fed_shape)}, "outputs": {"y": [2]},
              "values": {"y": [0.1, 0.9]}}  # fmt: skip
    stage = StageSpec(
        name="s", file="s.json", format="scripted", inputs=(asked,), output=OutputSpec(kind="classes"),
        labels=("nothing", "word"), costs=Costs(multiply_adds=5000),
    )  # fmt: skip
    manifest = BundleManifest(format=1, name="word", task="word", tier="edge", stages=(stage,), files={})
    write_bundle(tmp_path / "edge", manifest, {"s.json": msgspec.json.encode(script)})
    write_release(tmp_path, "word", "word", [StageGate(tier="edge", stage="s", gate=GateSpec("confidence", 0.6))])
    return open_release(tmp_path, "edge")


class Engine:
    def look(self, task: str, release: str, stage: str, look: Look, costs: Costs | None = None) -> LookRan:
        self.costs = costs
        return LookRan(Looked(None))


@pytest.mark.parametrize(("step", "share"), [(WINDOW, 1.0), (400, 0.5), (100, 0.125)])
def test_a_look_pays_for_the_model_whole_and_for_features_as_many_as_came_with_its_step(release, step, share):
    engine = Engine()
    waker = Waker(
        "mic", release, WatchSettings(by="row", window=WINDOW, step=step), engine, Tally("edge"), lambda call: call()
    )
    waker.look(Look({"sound": np.zeros(WINDOW, np.int16)}), lambda looked: None)
    whole = whole_costs(release.bundle.manifest.stages[0])
    assert whole.preparing_multiply_adds > 1000
    assert engine.costs.multiply_adds == whole.multiply_adds == 5000
    assert engine.costs.preparing_multiply_adds == pytest.approx(share * whole.preparing_multiply_adds, abs=1)
