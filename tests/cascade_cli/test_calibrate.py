"""`cascade calibrate`: from samples to thresholds in a release, and every way in which it says no."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cascade.adapters.bundle_folder import open_release
from cascade.adapters.scripted_release import write_scripted_release
from cascade_cli import exit_codes

TARGET = ("--target", "at most 3 points worse than the cloud")
BYTES = ("--target", "at most 5 kB per minute")


@pytest.fixture
def folder(tmp_path):
    """A device that is unsure of what it doesn't know, and a cloud that is nearly always right."""
    write_scripted_release(tmp_path / "release")
    rng = np.random.default_rng(0)
    samples = 1500
    label = rng.integers(0, 2, samples)
    columns = []
    for good in (0.75, 0.9, 0.99):
        chance = np.clip(good + 0.25 * rng.standard_normal(samples), 0.5, 0.999)
        chance -= 1e-4 * np.random.default_rng(1).random(samples)
        says = np.where(rng.random(samples) < chance, label, 1 - label)
        columns += [np.where(says == 0, chance, 1 - chance), np.where(says == 1, chance, 1 - chance)]
    np.savez(
        tmp_path / "samples.npz",
        x=np.stack(columns, axis=1).astype(np.float32),
        labels=np.array(["no", "yes"])[label],
    )
    return tmp_path


@pytest.fixture
def calibrate(cascade, folder):
    def run(*words):
        return cascade("calibrate", folder / "release", "--recordings", folder / "r.npz", *words)

    return run


@pytest.fixture
def recorded(calibrate, folder):
    assert calibrate("--record", folder / "samples.npz").code == 0
    return calibrate


def test_samples_are_recorded_and_become_thresholds_with_a_promise(calibrate, folder):
    said = calibrate("--record", folder / "samples.npz", *TARGET)
    assert said.code == 0, said.err
    assert "with 90% confidence" in said.out
    release = open_release(folder / "release", "edge")
    assert release.manifest.promise.targets == ("at most 3 points worse than the cloud",)
    assert release.manifest.promise.seen[0].bound <= 0.03
    (reference,) = release.manifest.references
    assert reference.confidence.samples == release.manifest.promise.samples
    assert 0.5 < reference.agreement < 1.0
    assert release.ladder.stages[0].reference == reference
    assert release.ladder.stages[0].gate.threshold != 0.9
    assert len(release.ladder.models_above) == 2


@pytest.mark.parametrize(("encoding", "code"), [("none", 0), ("raw", 0), ("gzip", 1)])
def test_encodings_are_named_as_those_of_streams(calibrate, folder, encoding, code):
    assert bool(calibrate("--record", folder / "samples.npz", "--encoding", encoding).code) == bool(code)


def samples(folder, name="other.npz", **changes):
    with np.load(folder / "samples.npz") as file:
        arrays = {each: file[each] for each in file.files} | changes
    np.savez(folder / name, **{each: array for each, array in arrays.items() if array is not None})
    return folder / name


def test_what_was_recorded_is_counted(calibrate, folder):
    with np.load(folder / "samples.npz") as file:
        x, labels = file["x"].copy(), file["labels"].astype("<U8")
    x[:5, :2] = np.nan
    labels[:7] = ""
    x[10] = x[11]
    path = samples(folder, x=x, labels=labels)
    said = calibrate("--record", path)
    assert (said.code, said.err) == (0, "")
    assert "1,500 samples of 3 stages, 1,493 labelled, 1 copies of others; unreadable: 5 of edge/edge-model" in said.out
    found = json.loads(calibrate("--json").out)["recorded"]
    assert (found["samples"], found["labelled"], found["copies"]) == (1500, 1493, 1)
    assert found["unreadable"] == {f"{tier}/{tier}-model": 5 for tier in ("edge", "fog", "cloud")}


def test_samples_without_labels_are_recorded_and_said_to_have_none(calibrate, folder):
    assert "1,500 samples of 3 stages, 0 labelled" in calibrate("--record", samples(folder, labels=None)).out


@pytest.mark.parametrize(
    ("changes", "words", "code", "said"),
    [
        ({}, ("--labels", "lables"), exit_codes.WRONG, "found no array 'lables'"),
        ({"labels": np.array(["yse"] * 1500)}, (), exit_codes.FAILED, "labelled yse, which no stage can say"),
        (
            {"x": np.full((1500, 6), np.nan, np.float32)},
            (),
            exit_codes.FAILED,
            "cloud-model could read none of the 1500",
        ),
        ({"x": np.ones((1500, 5), np.float32)}, (), exit_codes.FAILED, "edge-model could read none of the 1500"),
    ],
)
def test_what_nothing_can_be_learned_from_takes_no_good_recordings_place(recorded, folder, changes, words, code, said):
    before = (folder / "r.npz").read_bytes()
    refused = recorded("--record", samples(folder, **changes), *words)
    assert (refused.code, said in refused.err) == (code, True), refused.err
    assert (folder / "r.npz").read_bytes() == before


def test_samples_are_not_overwritten_by_what_is_recorded_of_them(cascade, folder):
    path = folder / "samples.npz"
    before = path.read_bytes()
    refused = cascade("calibrate", folder / "release", "--recordings", path, "--record", path)
    assert (refused.code, "expected another file" in refused.err) == (exit_codes.WRONG, True), refused.err
    assert path.read_bytes() == before


def test_a_folder_of_images_has_no_array_of_labels(calibrate, folder):
    (folder / "images/yes").mkdir(parents=True)
    (folder / "images/yes/1.pgm").write_bytes(b"P5 1 1 255 .")
    refused = calibrate("--record", folder / "images", "--labels", "truth")
    assert (refused.code, "only an .npz file" in refused.err) == (exit_codes.WRONG, True), refused.err


def test_samples_in_place_of_a_recording_are_told_apart(cascade, folder):
    refused = cascade("calibrate", folder / "release", "--recordings", folder / "samples.npz", *TARGET)
    assert (refused.code, "--record" in refused.err) == (exit_codes.FAILED, True), refused.err


def test_a_target_need_not_be_quoted(recorded):
    assert recorded(*TARGET[:1], *TARGET[1].split(), "--dry-run").code == 0


def test_a_promise_assumes_that_what_climbs_is_answered(recorded, folder):
    assert recorded(*TARGET).code == 0
    assert "what climbs is answered from above" in open_release(folder / "release", "edge").manifest.promise.assumes


def test_copies_support_a_promise_only_with_the_word_of_somebody_which_it_tells(calibrate, folder):
    with np.load(folder / "samples.npz") as file:
        twice = samples(folder, x=np.repeat(file["x"][:700], 2, 0), labels=np.repeat(file["labels"][:700], 2))
    refused = calibrate("--record", twice, *TARGET)
    assert (refused.code, "50% of the samples are copies" in refused.err) == (exit_codes.FAILED, True), refused.err
    assert open_release(folder / "release", "edge").manifest.promise is None
    assert calibrate(*TARGET, "--repeats").code == 0
    assert "samples repeat in the field" in open_release(folder / "release", "edge").manifest.promise.assumes


@pytest.mark.parametrize("tested", [99, 100])
def test_too_few_samples_for_a_reference_are_said_to_be(calibrate, folder, tested):
    with np.load(folder / "samples.npz") as file:
        few = samples(folder, x=file["x"][:tested], labels=file["labels"][:tested])
    wide = ("--target", "at most 20 points worse than the cloud")
    said = calibrate("--record", few, *wide)
    assert (said.code, "no reference: fewer than 100" in said.out) == (0, tested < 100), said.err
    release = open_release(folder / "release", "edge").manifest
    assert release.promise.samples == tested
    assert bool(release.references) == (tested >= 100)
    assert json.loads(calibrate(*wide, "--json").out)["reference"] == (tested >= 100)


def test_a_dry_run_writes_nothing(recorded, folder):
    before = (folder / "release/release.json").read_bytes()
    said = recorded(*TARGET, "--dry-run")
    assert "nothing was written" in said.out
    assert (folder / "release/release.json").read_bytes() == before


def test_scores_are_calibrated_drawn_and_promise_nothing_until_thresholds_are_found(recorded, folder):
    assert recorded(*TARGET).code == 0
    said = recorded("--method", "platt", "--plots", folder / "plots")
    assert "promise nothing: find new ones" in said.out
    assert {path.name for path in (folder / "plots").iterdir()} == {
        f"reliability-{tier}-{tier}-model.svg" for tier in ("edge", "fog", "cloud")
    }
    release = open_release(folder / "release", "edge")
    assert release.manifest.promise is None
    assert release.bundle.manifest.stages[0].calibration.samples == 1500
    assert recorded(*TARGET).code == 0, "the same recordings serve again: they are from before calibration"
    assert open_release(folder / "release", "edge").manifest.promise is not None


def test_where_plots_cant_be_put_is_found_out_before_the_work(recorded, folder):
    (folder / "plots").write_text("a file, no folder")
    before = (folder / "release/release.json").read_bytes()
    refused = recorded("--method", "platt", "--plots", folder / "plots")
    assert (refused.code, "plots can't be put there" in refused.err) == (exit_codes.FAILED, True), refused.err
    assert (folder / "release/release.json").read_bytes() == before


@pytest.mark.slow
def test_gates_are_learned_and_calibrations_fitted_on_samples_of_their_own(recorded, folder):
    said = recorded(*TARGET, "--deferral", "--method", "temperature", "--json")
    told = json.loads(said.out)
    assert (told["learned_on"], told["tested_on"]) == (450, 1050)
    release = open_release(folder / "release", "edge")
    assert release.ladder.stages[0].gate.name == "deferral"
    assert len(release.ladder.stages[0].gate.deferral.gain) == 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "at most 1 % wrong"), "more samples would not help"),
        (("--target", "at most 0.01 points worse than the cloud"), "samples can't support it; with about"),
        (("--target", "at most 5 kB per minute"), "how many questions a minute"),
        (("--target", "at most 1 mJ per question"), "no joules are recorded"),
        (("--target", "at most 5 % wrong on maybe"), "no label 'maybe'; there are no, yes"),
        ((*TARGET, "--without", "banana"), "no label 'banana' for the field to be without; there are no, yes"),
        ((*TARGET, "--without", "yes"), "without yes, and 7"),
        (("--method", "platt", "--without", "banana"), "no label 'banana'"),
    ],
)
def test_what_the_recordings_cant_support_is_refused_and_the_release_stays(recorded, folder, words, said):
    before = (folder / "release/release.json").read_bytes()
    refused = recorded(*words)
    assert (refused.code, said in refused.err) == (exit_codes.FAILED, True), refused.err
    assert (folder / "release/release.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "as good as it gets"), "expected"),
        ((*TARGET, "--cost", "fault"), "expected CLASS=NUMBER"),
        ((*TARGET, "--learn-share", "0.99"), "expected 0.05 to 0.9"),
        *(((*BYTES, f"--rate={rate}"), "--rate: 1 mistake") for rate in ("-10", "0", "nan", "inf", "1e308")),
        *(((*TARGET, f"--joules-per-byte={each}"), "--joules-per-byte: 1 mistake") for each in ("-1e-6", "nan", "inf")),
        ((*TARGET, "--seed=-1"), "--seed: 1 mistake"),
        ((*TARGET, "--plots", "plots"), "there is no --method"),
    ],
)
def test_what_is_said_wrongly_ends_with_2_and_changes_nothing(recorded, folder, words, said):
    before = (folder / "release/release.json").read_bytes()
    refused = recorded(*words)
    assert (folder / "release/release.json").read_bytes() == before
    assert (refused.code, said in refused.err) == (exit_codes.WRONG, True), refused.err


def test_recordings_of_other_bytes_are_refused(recorded, folder):
    write_scripted_release(folder / "release", faults={"fog": {"delay_ms": 0.001}})
    refused = recorded(*TARGET)
    assert (refused.code, "fog/fog-model of the release: other bytes" in refused.err) == (exit_codes.FAILED, True)


def test_recordings_of_another_task_or_other_stages_are_refused(recorded, folder):
    write_scripted_release(folder / "release", task="ripe")
    assert "recorded for task task; the release is for ripe" in recorded(*TARGET).err


def test_a_release_that_lacks_a_tier_cant_be_calibrated(recorded, folder):
    (folder / "release/cloud/manifest.json").unlink()
    assert "no bundle of cloud is here" in recorded(*TARGET).err


def test_a_file_that_is_no_recording_is_refused(calibrate, folder):
    (folder / "r.npz").write_bytes(b"rubbish")
    assert "r.npz: not a recording" in calibrate(*TARGET).err
