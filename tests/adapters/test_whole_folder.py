"""A folder is replaced whole, or stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.adapters.whole_folder import put, unfinished
from cascade.errors import StorageError


def fill(folder: Path, text: str) -> None:
    with unfinished(folder) as made:
        (made / "file").write_text(text)
        put(made, folder)


def give_up(folder: Path) -> None:
    with unfinished(folder) as made:
        (made / "file").write_text("half")
        raise OSError("no model")


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for text in ("old", "new"):
        fill(tmp_path / "a/b", text)
    assert (tmp_path / "a/b/file").read_text() == "new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    fill(tmp_path / "b", "old")
    with pytest.raises(OSError, match="no model"):
        give_up(tmp_path / "b")
    assert (tmp_path / "b/file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_when_the_new_one_can_not_be_put_the_old_one_is_there_again(tmp_path, monkeypatch):
    fill(tmp_path / "b", "old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name.endswith(".unfinished"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError, match="No space left"):
        fill(tmp_path / "b", "new")
    assert (tmp_path / "b/file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
