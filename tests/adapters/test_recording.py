"""Recording a release, and recordings as files: whole, bounded, and nothing else than what the stages said."""

from __future__ import annotations

import io
import zipfile

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.adapters.bundle_folder import open_release, write_bundle, write_release
from cascade.adapters.recording import LabelledSample, record
from cascade.adapters.recording_file import read_recordings, write_recordings
from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.adapters.stage_runner import StageRunner
from cascade.inference.recordings import BadRecording
from cascade.inference.scoring import score
from cascade.release.bundle import BundleManifest, InputSpec, OutputSpec, StageGate, StageSpec, stage_digest
from cascade.release.ladder import GateSpec

SAMPLES = [
    LabelledSample(scripted_sample((0.95, 0.05), (0.6, 0.4), (0.9, 0.1)), "no"),
    LabelledSample(scripted_sample((0.6, 0.4), (0.05, 0.95), (0.2, 0.8)), "yes"),
    LabelledSample(scripted_sample((0.5, 0.5), (0.5, 0.5), (0.3, 0.7))),
]


@pytest.fixture
def recorded(tmp_path):
    write_scripted_release(tmp_path / "release")
    runner = StageRunner()
    yield record(tmp_path / "release", SAMPLES, runner, batch=2)
    runner.close()


def test_every_stage_says_its_word_of_every_sample(recorded):
    assert [(stage.tier, stage.name) for stage in recorded.stages] == [
        ("edge", "edge-model"), ("fog", "fog-model"), ("cloud", "cloud-model"),
    ]  # fmt: skip
    assert recorded.stages[1].prediction(1).scores == pytest.approx((0.05, 0.95))
    assert recorded.label.tolist() == [0, 1, -1]
    scored = score(recorded, [GateSpec("confidence", 0.9), GateSpec("confidence", 0.9), GateSpec("always")])
    assert scored.answered_by.tolist() == [0, 1, 2]
    assert np.all(recorded.input_bytes > 24)


def test_copies_of_samples_are_counted_however_they_are_batched(recorded, tmp_path):
    assert recorded.repeated_share == 0.0
    again = record(tmp_path / "release", [*SAMPLES, *SAMPLES, SAMPLES[0]], StageRunner(), batch=2)
    assert again.repeated_share == pytest.approx(4 / 7, abs=1e-6)
    write_recordings(tmp_path / "r.npz", again)
    assert read_recordings(tmp_path / "r.npz").repeated_share == again.repeated_share


def test_a_recording_names_the_exact_stages_that_it_is_of(recorded, tmp_path):
    bundle = open_release(tmp_path / "release", "edge").bundle.manifest
    assert recorded.stages[0].stage_digest == stage_digest(bundle.stages[0], bundle)


def test_a_recording_survives_being_written_and_read(recorded, tmp_path):
    digest = write_recordings(tmp_path / "r.npz", recorded)
    again = read_recordings(tmp_path / "r.npz")
    assert again.digest == digest
    for before, after in zip(recorded.stages, again.stages, strict=True):
        assert [before.prediction(i) for i in range(3)] == [after.prediction(i) for i in range(3)]
        assert (before.name, before.stage_digest, before.labels) == (after.name, after.stage_digest, after.labels)
    assert again.label.tolist() == recorded.label.tolist()
    assert again.input_bytes.tolist() == recorded.input_bytes.tolist()


def test_a_sample_that_a_stage_fails_on_is_recorded_as_unreadable_and_the_others_as_said(tmp_path):
    write_scripted_release(tmp_path / "release", faults={"edge": {"fail_on": 99.0}})
    marked = LabelledSample(scripted_sample((99.0, 0.0), (0.5, 0.5), (0.3, 0.7)), "yes")
    recorded = record(tmp_path / "release", [SAMPLES[0], marked], StageRunner())
    assert recorded.stages[0].prediction(0).readable()
    assert not recorded.stages[0].prediction(1).readable()
    assert recorded.stages[2].prediction(1).readable()


@pytest.mark.parametrize("kind", ["estimate", "anomaly"])
def test_other_kinds_are_recorded_too(kind, tmp_path):
    width = 2 if kind == "estimate" else 1
    script = {"script": "echo", "inputs": {"x": [width]}, "outputs": {"y": [width]}}
    stage = StageSpec(
        name="s",
        file="m.json",
        format="scripted",
        inputs=(InputSpec(tensor="x", shape=(width,)),),
        output=OutputSpec(kind=kind),
    )
    manifest = BundleManifest(format=1, name="b", task="t", tier="edge", stages=(stage,), files={})
    write_bundle(tmp_path / "edge", manifest, {"m.json": msgspec.json.encode(script)})
    write_release(tmp_path, "r", "t", [StageGate(tier="edge", stage="s", gate=GateSpec("always"))])
    recorded = record(tmp_path, [LabelledSample(np.full(width, 0.75, np.float32))], StageRunner())
    write_recordings(tmp_path / "r.npz", recorded)
    assert read_recordings(tmp_path / "r.npz").stages[0].prediction(0) == recorded.stages[0].prediction(0)
    assert recorded.stages[0].prediction(0).readable()


def test_no_samples_are_no_recording(tmp_path):
    write_scripted_release(tmp_path / "release")
    with pytest.raises(BadRecording, match="no samples"):
        record(tmp_path / "release", [], StageRunner())


def damaged(path, **changes):
    """The same archive with other members."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"header": np.frombuffer(b'{"format":3}', np.uint8)}, "format 3; this version reads 1 and 2"),
        ({"header": np.frombuffer(b"rubbish", np.uint8)}, "header"),
        ({"header": None}, "header"),
        ({"0.scores": np.zeros((3, 5), np.float32)}, "5 scores for 2 labels"),
        ({"0.ran": np.ones(2, bool)}, "other counts than 3 in ran"),
        ({"label": np.array([9, 0, 0], np.int32)}, "label without a name"),
        ({"label": np.zeros(3)}, "label: float64"),
        ({"0.scores": np.array(["a", "b"])}, "an array of <U1"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(recorded, tmp_path, changes, said):
    write_recordings(tmp_path / "r.npz", recorded)
    damaged(tmp_path / "r.npz", **changes)
    with pytest.raises(BadRecording, match=said):
        read_recordings(tmp_path / "r.npz")


def test_a_file_is_not_believed_how_large_it_is(recorded, tmp_path):
    path = tmp_path / "r.npz"
    write_recordings(path, recorded)
    with pytest.raises(BadRecording, match="at most"):
        read_recordings(path, max_bytes=1000)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", header.getvalue())
    with pytest.raises(BadRecording, match="an array of float64"):
        read_recordings(path)


@given(rubbish=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_rubbish_is_no_recording(rubbish, tmp_path_factory):
    path = tmp_path_factory.mktemp("rubbish") / "r.npz"
    path.write_bytes(rubbish)
    with pytest.raises(BadRecording):
        read_recordings(path)
    with pytest.raises(BadRecording):
        read_recordings(path.parent / "not there.npz")
