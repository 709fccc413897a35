"""Estimates and anomaly scores are evaluated too; budgets are those of the world's time."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec
from cascade.release.ladder import GateSpec
from cascade_cli import exit_codes

SAMPLES = 80


def write(folder, kind, outputs, gate, samples, labels):
    """A device and a cloud that say what their half of the input tells them to."""
    gates = []
    for at, tier in ((0, "edge"), (outputs, "cloud")):
        script = {"script": "echo", "inputs": {"x": [2 * outputs]}, "outputs": {"y": [outputs]}, "at": at}
        spec = InputSpec(tensor="x", shape=(2 * outputs,))
        stage = StageSpec(name="m", file="m.json", format="scripted", inputs=(spec,), output=OutputSpec(kind=kind))
        manifest = BundleManifest(format=1, name=tier, task="t", tier=tier, stages=(stage,), files={})
        write_bundle(folder / "other" / tier, manifest, {"m.json": msgspec.json.encode(script)})
        gates.append(StageGate(tier=tier, stage="m", gate=GateSpec("always") if tier == "cloud" else gate))
    write_release(folder / "other", "r", "t", gates)
    np.savez(folder / "other.npz", x=samples.astype(np.float32), labels=labels)
    (folder / "evaluate.toml").write_text('release = "other"\ndata = { kind = "replay", path = "other.npz" }\n')


@pytest.fixture
def estimates(folder):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.0, 10.0, SAMPLES)
    spread = rng.choice([0.1, 3.0], SAMPLES)
    device = truth + spread * rng.standard_normal(SAMPLES)
    columns = np.stack([device, spread, truth, np.full(SAMPLES, 0.1)], axis=1)
    write(folder, "estimate", 2, GateSpec("spread", 1.0), columns, truth)


def test_an_estimate_is_right_where_it_is_near_enough(estimates, evaluate, folder):
    (folder / "evaluate.toml").write_text("within = 0.5\n" + (folder / "evaluate.toml").read_text())
    found = evaluate("--pictures", folder / "pictures")["systems"]
    assert found["cloud only"]["right"]["value"] == 1.0
    assert found["device only"]["right"]["value"] < 0.8
    assert found["cascade"]["right"]["value"] > 0.95
    assert {path.stem for path in (folder / "pictures").iterdir()} == {"trade-off"}


def test_how_near_that_is_has_to_be_said(estimates, evaluate):
    refused = evaluate()
    assert (refused.code, "within: is missing" in refused.err) == (exit_codes.WRONG, True)


def test_a_word_is_no_label_of_an_estimate(estimates, evaluate, folder):
    file = dict(np.load(folder / "other.npz"))
    np.savez(folder / "other.npz", x=file["x"], labels=np.array(["far", "near"] * (SAMPLES // 2)))
    (folder / "evaluate.toml").write_text("within = 0.5\n" + (folder / "evaluate.toml").read_text())
    assert 'the label "far", expected numbers' in evaluate().err


def test_anomaly_scores_are_normal_or_an_anomaly(evaluate, folder):
    rng = np.random.default_rng(0)
    odd = rng.random(SAMPLES) < 0.3
    device = np.clip(np.where(odd, 0.7, 0.3) + 0.25 * rng.standard_normal(SAMPLES), 0.0, 1.0)
    columns = np.stack([device, np.where(odd, 0.99, 0.01)], axis=1)
    labels = np.array(["normal", "anomaly"])[odd.astype(int)]
    write(folder, "anomaly", 1, GateSpec("confidence", 0.6), columns, labels)
    found = evaluate()["systems"]
    assert found["cloud only"]["right"]["value"] == 1.0
    assert found["device only"]["right"]["value"] < found["cascade"]["right"]["value"]


def test_a_spent_budget_keeps_questions_on_the_device(evaluate, folder):
    text = (folder / "evaluate.toml").read_text()
    free = evaluate()["systems"]["cascade"]
    (folder / "evaluate.toml").write_text(
        text.replace("[above.budget]\n", "[above.budget]\nbytes_per_minute = 2000\n") + "[questions]\nper_s = 2\n"
    )
    kept = evaluate()["systems"]["cascade"]
    assert kept["bytes_up_per_question"]["value"] < 0.5 * free["bytes_up_per_question"]["value"]
    assert kept["answered_by"]["edge/edge-model"]["value"] > free["answered_by"]["edge/edge-model"]["value"]
    assert kept["right"]["value"] < free["right"]["value"]
