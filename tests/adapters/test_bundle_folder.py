"""Bundles and releases on disk: nothing is used that is not, to the last byte, what its manifest says."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cascade.adapters.bundle_folder import open_bundle, open_release, write_bundle, write_release
from cascade.adapters.scripted_release import write_scripted_release
from cascade.errors import BundleRejected
from cascade.release.bundle import (
    MANIFEST_FILE,
    RELEASE_FILE,
    BundleManifest,
    InputSpec,
    OutputSpec,
    StageGate,
    StageSpec,
    Tier,
)
from cascade.release.ladder import GateSpec

MODEL = b"all the numbers of a model"


def manifest(tier: Tier = "edge", task: str = "t") -> BundleManifest:
    stage = StageSpec(
        name="s",
        file="models/m.onnx",
        format="onnx",
        inputs=(InputSpec(tensor="x", shape=(4,)),),
        output=OutputSpec(kind="classes"),
    )
    return BundleManifest(format=1, name="b", task=task, tier=tier, stages=(stage,), files={})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", manifest(), {"models/m.onnx": MODEL, "labels.txt": b"yes\nno\n"})
    return tmp_path / "bundle"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_scripted_release(tmp_path / "release")


def test_what_was_written_is_read_again(bundle: Path) -> None:
    loaded = open_bundle(bundle)
    assert loaded.manifest.files["models/m.onnx"].bytes == len(MODEL)
    assert (loaded.folder / "models/m.onnx").read_bytes() == MODEL
    assert open_bundle(bundle).digest == loaded.digest


def test_the_same_files_make_the_same_digest_anywhere(tmp_path: Path, bundle: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(MODEL)
    again = write_bundle(tmp_path / "again", manifest(), {"labels.txt": b"yes\nno\n", "models/m.onnx": source})
    assert again.digest == open_bundle(bundle).digest


def test_nothing_unfinished_is_left_behind(bundle: Path) -> None:
    assert sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()) == [
        "labels.txt",
        "manifest.json",
        "models/m.onnx",
    ]


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flipped, "SHA-256 .*, where the manifest says"),
        (lambda path: path.write_bytes(MODEL[:-1]), f"{len(MODEL) - 1} bytes, where the manifest says {len(MODEL)}"),
        (lambda path: path.write_bytes(MODEL + b"!"), f"{len(MODEL) + 1} bytes, where the manifest says"),
        (Path.unlink, "No such file"),
        (replaced_by(Path.mkdir), "not a regular file"),
        (replaced_by(os.mkfifo), "not a regular file"),
        (replaced_by(lambda path: path.symlink_to("/etc/passwd")), "a link to outside the bundle"),
        (replaced_by(lambda path: path.symlink_to(path)), ".*[Ss]ymlink|.*[Ll]oop"),
        (replaced_by(lambda path: path.symlink_to("nowhere")), "No such file"),
    ],
    ids=["flipped", "shorter", "longer", "gone", "folder", "pipe", "link out", "link to itself", "dangling link"],
)
def test_a_file_that_is_not_what_the_manifest_says_is_refused(
    bundle: Path, change: Callable[[Path], object], said: str
) -> None:
    change(bundle / "models/m.onnx")
    with pytest.raises(BundleRejected, match=rf"models/m\.onnx: {said}"):
        open_bundle(bundle)


def test_a_link_inside_the_bundle_is_followed(bundle: Path) -> None:
    (bundle / "models/m.onnx").rename(bundle / "models/real")
    (bundle / "models/m.onnx").symlink_to("real")
    assert open_bundle(bundle).manifest.name == "b"


def test_a_folder_that_is_a_link_out_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "models").rename(tmp_path / "elsewhere")
    (bundle / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleRejected, match="a link to outside"):
        open_bundle(bundle)


def test_a_pipe_in_place_of_the_manifest_does_not_stop_the_start(bundle: Path) -> None:
    (bundle / MANIFEST_FILE).unlink()
    os.mkfifo(bundle / MANIFEST_FILE)
    started_s = time.monotonic()
    with pytest.raises(BundleRejected, match="not a regular file"):
        open_bundle(bundle)
    assert time.monotonic() - started_s < 5.0


def test_a_bundle_larger_than_allowed_is_refused_before_it_is_read(bundle: Path) -> None:
    with pytest.raises(BundleRejected, match="at most"):
        open_bundle(bundle, max_bytes=10)


def test_a_declared_size_of_exabytes_costs_nothing(bundle: Path) -> None:
    described = msgspec.json.decode((bundle / MANIFEST_FILE).read_bytes())
    described["files"]["models/m.onnx"]["bytes"] = 2**62
    (bundle / MANIFEST_FILE).write_bytes(msgspec.json.encode(described))
    with pytest.raises(BundleRejected, match="at most"):
        open_bundle(bundle)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleRejected, match=r"manifest\.json"):
        open_bundle(tmp_path)


def test_a_bundle_whose_stage_has_no_file_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleRejected, match=r"models/m\.onnx"):
        write_bundle(tmp_path / "b", manifest(), {"other": MODEL})
    assert not (tmp_path / "b" / MANIFEST_FILE).exists()


@pytest.mark.parametrize("tier", ["edge", "fog", "cloud"])
def test_every_tier_of_a_release_opens_under_one_id(release: Path, tier: Tier) -> None:
    loaded = open_release(release, tier)
    assert loaded.ladder.release == open_release(release, "cloud").id
    assert [stage.name for stage in loaded.ladder.stages] == [f"{tier}-model"]


def test_a_device_needs_its_own_part_of_a_release_only(release: Path) -> None:
    shutil.rmtree(release / "fog")
    shutil.rmtree(release / "cloud")
    assert open_release(release, "edge").bundle.manifest.tier == "edge"
    with pytest.raises(BundleRejected, match="fog"):
        open_release(release, "fog")


def test_a_bundle_from_another_release_is_refused(release: Path, tmp_path: Path) -> None:
    other = write_scripted_release(tmp_path / "other", faults={"edge": {"delay_ms": 1.0}})
    shutil.rmtree(release / "edge")
    shutil.copytree(other / "edge", release / "edge")
    with pytest.raises(BundleRejected, match="where the release names"):
        open_release(release, "edge")


def test_a_strange_bundle_of_another_tier_is_noticed_where_it_is_there(release: Path) -> None:
    flipped(release / "fog" / MANIFEST_FILE)
    with pytest.raises(BundleRejected, match="where the release names"):
        open_release(release, "edge")


def test_a_tier_that_is_a_link_out_of_the_release_is_refused(release: Path, tmp_path: Path) -> None:
    (release / "edge").rename(tmp_path / "elsewhere")
    (release / "edge").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleRejected, match="a link to outside the release"):
        open_release(release, "edge")


def test_a_flipped_model_is_found_through_the_release(release: Path) -> None:
    flipped(release / "edge" / "model.json")
    with pytest.raises(BundleRejected, match=r"model\.json"):
        open_release(release, "edge")


def gate(stage: str, tier: Tier = "edge") -> StageGate:
    return StageGate(tier=tier, stage=stage, gate=GateSpec("confidence", 0.5))


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([], "no gate for stage s"),
        ([gate("s"), gate("z")], "a gate for stage z"),
        ([gate("s"), gate("s")], "two gates"),
    ],
)
def test_a_release_with_the_wrong_gates_is_not_written(tmp_path: Path, gates: list[StageGate], said: str) -> None:
    write_bundle(tmp_path / "edge", manifest(), {"models/m.onnx": MODEL})
    with pytest.raises(BundleRejected, match=said):
        write_release(tmp_path, "r", "t", gates)
    assert not (tmp_path / RELEASE_FILE).exists()


def test_a_release_of_another_task_is_not_written(tmp_path: Path) -> None:
    write_bundle(tmp_path / "edge", manifest(task="other"), {"models/m.onnx": MODEL})
    with pytest.raises(BundleRejected, match="task other"):
        write_release(tmp_path, "r", "t", [gate("s")])


def test_a_tier_that_the_release_does_not_have_is_named(tmp_path: Path) -> None:
    write_bundle(tmp_path / "edge", manifest(), {"models/m.onnx": MODEL})
    write_release(tmp_path, "r", "t", [gate("s")])
    with pytest.raises(BundleRejected, match="no bundle for tier cloud; it has edge"):
        open_release(tmp_path, "cloud")
