"""Files that are written whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.adapters.whole_file import write_whole
from cascade.errors import StorageError


def test_the_new_replaces_the_old(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"old")
    write_whole(tmp_path / "f", iter([b"n", b"ew"]))
    assert (tmp_path / "f").read_bytes() == b"new"


def test_a_file_is_durable_before_it_has_its_name_and_its_name_before_we_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        real_sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        done.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    write_whole(tmp_path / "f", b"new")
    assert done == ["file", "rename", "folder"]


def test_a_disk_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "f", b"old")
    with pytest.raises(StorageError, match="No space left"):
        write_whole(tmp_path / "f", chunks())
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        write_whole(tmp_path / "no" / "f", b"new")
