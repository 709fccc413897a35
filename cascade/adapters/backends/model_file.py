"""A model file as bytes that are looked at where they lie: opened with care, mapped, never read whole."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cascade.errors import ModelRejected


@contextmanager
def mapped(path: Path, max_bytes: int) -> Iterator[memoryview]:
    """The bytes of a model file. `ModelRejected` for what is no regular file, empty, or larger than `max_bytes`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelRejected(f"{path.name}: {error.strerror or error}") from error
    try:
        check_size(path.name, os.fstat(descriptor), max_bytes)
        bytes_ = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    try:
        yield memoryview(bytes_)
    finally:
        with suppress(BufferError):  # an error on its way holds parts of it in its frames: then it ends with the error
            bytes_.close()


def check_size(where: str, status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ModelRejected(f"{where}: not a regular file")
    if status.st_size == 0:
        raise ModelRejected(f"{where}: empty")
    if status.st_size > max_bytes:
        raise ModelRejected(f"{where}: {status.st_size} bytes; at most {max_bytes} are loaded")
