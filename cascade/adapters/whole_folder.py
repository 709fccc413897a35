"""Making a folder beside its place, and putting it there when it is done: what fails half way leaves what was there.

There is no rename that exchanges two folders everywhere: for a moment there is neither. A running node has opened its
files before, and reads them again at its next start only.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade.errors import StorageError


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A new folder on the same disk, gone at the end unless it was `put`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unfinished", dir=folder.parent))
        made.chmod(0o755)
    except OSError as error:
        raise _failed(folder.parent, error) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def put(made: Path, folder: Path) -> None:
    """In the place of what was there; if that fails, what was there is there again."""
    before = made.with_suffix(".before")
    try:
        if folder.exists():
            folder.rename(before)
        _rename_or_restore(made, folder, before)
    except OSError as error:
        raise _failed(folder, error) from error
    shutil.rmtree(before, ignore_errors=True)


def _rename_or_restore(made: Path, folder: Path, before: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise


def _failed(where: Path, error: OSError) -> StorageError:
    return StorageError(f"{where}: {error.strerror or error}")
