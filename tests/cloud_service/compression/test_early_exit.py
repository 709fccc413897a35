"""Training, counting and exporting models with several exits. Needs torch, which is not in the usual environment:
`pip install '.[compress]'`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[compress]'")
pytest.importorskip("onnx")

from torch import nn  # noqa: E402

from cascade.adapters import bundle_folder  # noqa: E402
from cascade.adapters.bundle_folder import open_release, write_bundle, write_release  # noqa: E402
from cascade.adapters.stage_runner import StageRunner  # noqa: E402
from cascade.errors import MissingDependency  # noqa: E402
from cascade.inference.effects import RunStage  # noqa: E402
from cascade.messages import Question, Tensor  # noqa: E402
from cascade.release import bundle  # noqa: E402
from cascade.release.bundle import BundleManifest, InputSpec, StageGate  # noqa: E402
from cascade.release.ladder import GateSpec  # noqa: E402
from cloud_service.compression import early_exit  # noqa: E402
from cloud_service.compression.early_exit import exporting, joint_training  # noqa: E402
from cloud_service.compression.early_exit import network as network_room  # noqa: E402
from cloud_service.compression.early_exit.counting import counted  # noqa: E402
from cloud_service.compression.early_exit.exporting import HIDDEN, export_segments, quantised, sent, stages_of  # noqa: E402
from cloud_service.compression.early_exit.joint_training import Training, joint_loss, train_jointly  # noqa: E402
from cloud_service.compression.early_exit.network import SegmentedNetwork, probabilities  # noqa: E402
from cloud_service.compression.rounded_weights import round_weights  # noqa: E402

LABELS = ("left", "middle", "right")
INPUT = InputSpec(tensor="x", shape=(1, 8, 8))


def network(seed: int = 0) -> SegmentedNetwork:
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
    rest = nn.Sequential(nn.Conv2d(6, 12, 3, 2, 1), nn.ReLU())
    return SegmentedNetwork(
        [
            (stem, nn.Sequential(nn.Flatten(), nn.Linear(96, 3))),
            (rest, nn.Sequential(nn.Flatten(), nn.Linear(48, 3))),
        ]
    )


def samples(count: int = 600, seed: int = 0):
    """A bright column: left, in the middle, or right; in noise."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 3, count)
    images = chance.normal(0.0, 0.7, (count, 1, 8, 8)).astype(np.float32)
    for row, label in enumerate(labels):
        images[row, 0, :, 1 + 3 * label] += 1.0
    return torch.from_numpy(images), torch.from_numpy(labels)


def test_all_exits_learn_together():
    some, (inputs, labels) = network(), samples()
    losses = []
    train_jointly(some, inputs, labels, Training(epochs=8, batch=32), told=lambda epoch, loss, s: losses.append(loss))
    assert losses[-1] < losses[0]
    fresh, right = samples(seed=1)
    assert all((each.argmax(1) == right.numpy()).mean() > 0.85 for each in probabilities(some, fresh))


def test_the_same_seed_trains_the_same_network():
    inputs, labels = samples(100)
    first, second = network(), network()
    for each in (first, second):
        train_jointly(each, inputs, labels, Training(epochs=1, batch=32))
    assert torch.equal(first(inputs)[-1], second(inputs)[-1])


def test_an_exit_without_weight_is_not_trained():
    some, (inputs, labels) = network(), samples(200)
    before = some.exits[0][1].weight.detach().clone()
    train_jointly(some, inputs, labels, Training(epochs=1, batch=32, exit_weights=(0.0, 1.0)))
    assert torch.equal(some.exits[0][1].weight, before)


def test_what_the_last_exit_is_taught_does_not_depend_on_the_others():
    """It teaches them, and must not learn from what they can't do."""
    logits = [torch.randn(4, 3, requires_grad=True) for _ in range(2)]
    joint_loss(logits, torch.tensor([0, 1, 2, 0]), (0.5, 1.0), Training(taught_share=1.0)).backward()
    alone = logits[1].detach().clone().requires_grad_()
    joint_loss([alone], torch.tensor([0, 1, 2, 0]), (1.0,), Training()).backward()
    assert torch.allclose(logits[1].grad, alone.grad)


def test_a_teacher_above_is_heeded_by_all_exits():
    said = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    others, labels = said.flip(1), torch.tensor([0, 1, 2, 0])

    def loss(*exits, share=1.0):
        return float(joint_loss(exits, labels, (0.5, 1.0), Training(taught_share=share), said))

    assert loss(said, said) == pytest.approx(0.0, abs=1e-6)
    assert min(loss(others, said), loss(said, others)) > 0.1
    assert loss(said, said, share=0.5) > 0.1


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (-1.0, 1.0)])
def test_weights_that_can_not_be_are_refused(weights):
    inputs, labels = samples(10)
    with pytest.raises(ValueError, match="exit_weights"):
        train_jointly(network(), inputs, labels, Training(exit_weights=weights))


def test_multiply_adds_are_counted_layer_by_layer():
    inputs, _ = samples(2)
    stem, leave = network().trunks[0], network().exits[0]
    assert counted(stem, inputs).multiply_adds == 4 * 4 * 6 * 9
    assert counted(leave, torch.zeros(1, 6, 4, 4)).multiply_adds == 96 * 3
    grouped = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    assert counted(grouped, torch.zeros(1, 6, 4, 4)).multiply_adds == 4 * 4 * 6 * 9


def test_a_layer_whose_price_is_unknown_is_not_free():
    with pytest.raises(ValueError, match="LSTM"):
        counted(nn.LSTM(3, 4), torch.zeros(1, 2, 3))


@pytest.fixture(params=["onnx", "tflite"])
def made(request, tmp_path: Path):
    """A trained network, its segments as files, and a release of them."""
    if request.param == "tflite":
        pytest.importorskip("litert_torch", reason="litert-torch is not installed: pip install litert-torch==0.10.0")
        pytest.importorskip("ai_edge_litert")
    some, (inputs, labels) = network(), samples()
    train_jointly(some, inputs, labels, Training(epochs=2, batch=32))
    segments = export_segments(some, inputs[:64], tmp_path / "files", to=request.param, last_hands_on=True)
    stages = stages_of(segments, INPUT, LABELS, sends=(1,))
    manifest = BundleManifest(format=1, name="b", task="t", tier="edge", stages=stages, files={})
    write_bundle(tmp_path / "release/edge", manifest, {each.path.name: each.path for each in segments})
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("always")) for each in stages]
    write_release(tmp_path / "release", "r", "t", gates)
    return some, segments, open_release(tmp_path / "release", "edge")


def asked(image, index: int = 0) -> Question:
    payload = (Tensor("x", "float32", (1, 8, 8), image.numpy().tobytes()),)
    return Question(
        id=f"q{index}", device="a.b", stream="s", sequence=1, task="t", release="", payload=payload, ms_left=1e3
    )


def test_exported_segments_say_what_the_network_said(made):
    some, _, release = made
    inputs, _ = samples(5, seed=2)
    runner = StageRunner()
    ladder = runner.install(release)
    questions = tuple(asked(image, index) for index, image in enumerate(inputs))
    for stage, expected in zip(("exit1", "exit2"), probabilities(some, inputs), strict=True):
        done = runner.run(RunStage(1, "t", ladder.release, stage, questions))
        assert np.allclose([each.scores for each in done.results], expected, atol=1e-5)
    assert len(runner.hidden) == 5


def test_costs_of_each_segment_stand_in_the_bundle(made):
    some, segments, release = made
    inputs, _ = samples(2)
    costs = [stage.costs.multiply_adds for stage in release.bundle.manifest.stages]
    hidden = some.trunks[0](inputs)
    whole = counted(some.trunks[0], inputs).multiply_adds + counted(some.exits[0], hidden).multiply_adds
    assert costs[0] == whole == segments[0].cost.multiply_adds
    assert all(stage.costs.bytes_moved for stage in release.bundle.manifest.stages)


def test_hidden_features_in_eight_bits_are_what_they_were_to_half_a_step(made):
    some, segments, release = made
    inputs, _ = samples(1, seed=3)
    runner = StageRunner()
    ladder = runner.install(release)
    for stage in ("exit1", "exit2"):
        runner.run(RunStage(1, "t", ladder.release, stage, (asked(inputs[0]),)))
    payload = runner.sendable(asked(inputs[0]), "exit2").payload
    scale, zero = quantised(segments[1]).scale, quantised(segments[1]).zero_point
    back = (np.frombuffer(payload[0].data, np.uint8).astype(np.float32) - zero) * scale
    hidden = some.hidden(inputs)[-1].detach().numpy().ravel()
    inside = hidden < segments[1].hidden_high
    assert np.abs(back - hidden)[inside].max() <= 0.5 * scale + 1e-6
    assert (payload[0].name, payload[0].shape) == (HIDDEN[segments[1].format], (12, 2, 2))


def test_where_nothing_converts_to_tflite_it_is_told_what_would(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(MissingDependency, match=r"pip install litert-torch==0\.10\.0"):
        export_segments(network(), samples(4)[0], tmp_path, to="tflite")


def test_the_example_of_the_package_runs_as_it_stands(tmp_path):
    def flat(columns: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(columns, 3))

    images = torch.randn(512, 28, 28)
    there = {
        "stem": flat(784), "exit1": nn.Linear(3, 3), "middle": nn.Linear(3, 3), "exit2": nn.Linear(3, 3),
        "rest": nn.Linear(3, 3), "exit3": nn.Linear(3, 3), "images": images, "labels": torch.randint(0, 3, (512,)),
        "LABELS": LABELS, "folder": tmp_path / "files", "release": tmp_path / "release",
    }  # fmt: skip
    for module in (exporting, network_room, joint_training, bundle, bundle_folder):
        there |= vars(module)
    example = "\n".join(line[4:] for line in (early_exit.__doc__ or "").splitlines() if line.startswith("    "))
    exec(example, there)
    assert [stage.name for stage in bundle_folder.open_bundle(tmp_path / "release/edge").manifest.stages] == [
        "exit1", "exit2", "exit3",
    ]  # fmt: skip


def test_a_segment_that_hands_nothing_on_can_not_send(tmp_path):
    inputs, _ = samples(4)
    segments = export_segments(network(), inputs, tmp_path)
    assert segments[-1].hands_on is None
    with pytest.raises(ValueError, match="hands nothing on"):
        sent(segments[-1])


@pytest.mark.parametrize(("bits", "share", "off"), [(16, 0.55, 5e-3), (8, 0.3, 5e-2)])
def test_rounded_weights_make_a_smaller_file_that_says_nearly_the_same(tmp_path, bits, share, off):
    import onnxruntime

    wide = SegmentedNetwork([(nn.Sequential(nn.Flatten(), nn.Linear(64, 500), nn.ReLU()), nn.Linear(500, 3))])
    inputs, _ = samples(8)
    (segment,) = export_segments(wide, inputs, tmp_path)
    before = segment.path.stat().st_size
    round_weights(segment.path, bits)
    assert segment.path.stat().st_size < share * before
    said = onnxruntime.InferenceSession(str(segment.path)).run(None, {"inputs": inputs.numpy()})[0]
    assert np.allclose(said, wide(inputs)[0].detach().numpy(), atol=off)


def test_rounded_weights_are_folded_away_when_the_model_is_loaded(tmp_path):
    """They cost nothing at each question."""
    import onnx
    import onnxruntime

    (segment,) = export_segments(SegmentedNetwork([(nn.Flatten(), nn.Linear(64, 30))]), samples(8)[0], tmp_path)
    round_weights(segment.path, 8)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(segment.path), options)
    left = {node.op_type for node in onnx.load(str(tmp_path / "optimised.onnx")).graph.node}
    assert not left & {"Cast", "Mul"}
