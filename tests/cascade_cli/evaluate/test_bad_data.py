"""Data that nothing can be learned from is refused, with what is wrong and where."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from cascade_cli import exit_codes
from cascade_cli.evaluate.samples import open_data
from cascade_cli.evaluate.settings import IdxTable


def refused(evaluate):
    said = evaluate()
    assert said.code == exit_codes.WRONG, said.err
    return said.err


def test_no_labels(evaluate, folder, samples):
    samples(folder / "samples.npz", labels=None)
    assert "found no labels" in refused(evaluate)


def test_some_labels_missing(evaluate, folder, samples):
    labels = np.array(["yes", "no"] * 80)
    labels[[3, 17]] = ""
    samples(folder / "samples.npz", labels=labels)
    assert "2 of 160 samples without a label (3, 17)" in refused(evaluate)


def test_labels_that_no_stage_can_say(evaluate, folder, samples):
    labels = np.array(["yes", "no"] * 80, dtype="<U8")
    labels[:3] = "perhaps"
    samples(folder / "samples.npz", labels=labels)
    assert 'no stage of the release can say: "perhaps" (3); it says no, yes' in refused(evaluate)


def test_one_class_only(evaluate, folder, samples):
    samples(folder / "samples.npz", labels=np.array(["yes"] * 160))
    assert 'samples of one class only ("yes")' in refused(evaluate)


def test_an_empty_data_set(evaluate, folder, samples):
    samples(folder / "samples.npz", 0)
    assert "samples" in refused(evaluate)


def test_numbers_that_are_none(evaluate, folder, samples):
    x = samples(folder / "samples.npz")
    x[5, 2] = np.nan
    x[9, 0] = np.inf
    samples(folder / "samples.npz", x=x)
    said = refused(evaluate)
    assert "sample 5" in said
    assert "1 of 6 numbers are NaN" in said
    assert "sample 9" in said
    assert "infinite" in said


def test_samples_of_another_shape(evaluate, folder, samples):
    samples(folder / "samples.npz", x=np.zeros((160, 7), np.float32))
    assert "sample 0: tensor x is float32 (7,), expected float32 (6,)" in refused(evaluate)


def test_a_tensor_of_another_name(evaluate, folder, samples):
    x = samples(folder / "samples.npz")
    samples(folder / "samples.npz", x=None, y=x)
    assert "found the tensors y, expected x" in refused(evaluate)


def test_nothing_where_the_data_should_be(evaluate, folder):
    (folder / "samples.npz").unlink()
    assert "found nothing" in refused(evaluate)


def test_no_settings_at_all(evaluate, folder):
    (folder / "evaluate.toml").unlink()
    said = refused(evaluate)
    assert "found nothing, expected a TOML file of what to evaluate: release and data are enough" in said
    assert "cascade init" not in said


def test_no_journal_where_it_should_be(evaluate, folder):
    (folder / "evaluate.toml").write_text('release = "release"\ndata = { kind = "journal", path = "gone.journal" }\n')
    assert "gone.journal: 1 mistake\n  - found nothing, expected a journal: the [journal] path" in refused(evaluate)


def test_settings_with_mistakes_tell_all_of_them(evaluate, folder):
    (folder / "evaluate.toml").write_text('release = "nowhere"\ndata = { kind = "magic" }\nseeed = 1\n')
    said = refused(evaluate)
    assert "release: found no folder" in said
    assert "data" in said
    assert "seed" in said


def test_a_model_that_fails_on_every_sample_is_told(evaluate, folder):
    from cascade.adapters.scripted_release import write_scripted_release

    write_scripted_release(folder / "release", faults={"fog": {"fail_every": 1}})
    found = evaluate()
    assert any("fog/fog-model" in note and "160" in note for note in found["notes"])


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read(cascade, folder, suffix, samples):
    x = samples(folder / "samples.npz", 50)
    label = np.array([0, 1] * 25, np.uint8)
    opened = gzip.open if suffix else open
    with opened(folder / f"x{suffix}", "wb") as file:
        file.write(b"\0\0\x0d\x02" + np.array(x.shape, ">u4").tobytes() + x.astype(">f4").tobytes())
    with opened(folder / f"y{suffix}", "wb") as file:
        file.write(b"\0\0\x08\x01" + np.array([50], ">u4").tobytes() + label.tobytes())
    table = f'{{ kind = "idx", images = "x{suffix}", labels = "y{suffix}", tensor = "x", names = ["no", "yes"] }}'
    (folder / "evaluate.toml").write_text(f'release = "release"\ndata = {table}\ncache = "cache"\n')
    said = cascade("evaluate", folder / "evaluate.toml", "--json")
    assert said.code == 0, said.err
    assert '"samples":50' in said.out


def test_a_sorted_file_can_be_asked_in_another_order_that_is_always_the_same(tmp_path):
    for name, array in (("x", np.arange(100, dtype=np.uint8)[:, None]), ("y", np.repeat([0, 1], 50).astype(np.uint8))):
        axes = b"".join(size.to_bytes(4) for size in array.shape)
        (tmp_path / name).write_bytes(b"\0\0\x08" + bytes([array.ndim]) + axes + array.tobytes())
    files = {"images": tmp_path / "x", "labels": tmp_path / "y"}
    first, again = (open_data(IdxTable(**files, shuffled=True)) for _ in range(2))
    images = [int(first.read(index)["image"][0]) for index in range(100)]
    assert sorted(images) == list(range(100)) != images
    assert first.labels == tuple("01"[image >= 50] for image in images) == again.labels


@pytest.mark.parametrize(
    "raw", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05ab", b"PNG rubbish", b"\0\0\x63\x01\0\0\0\0"]
)
def test_what_is_no_idx_file_is_refused(cascade, folder, raw):
    (folder / "x").write_bytes(raw)
    (folder / "evaluate.toml").write_text('release = "release"\ndata = { kind = "idx", images = "x", labels = "x" }\n')
    said = cascade("evaluate", folder / "evaluate.toml")
    assert said.code == exit_codes.WRONG
    assert "expected" in said.err
