"""What a node keeps between its starts, beside models and spool: the seed of its dice, in its state folder."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from cascade.errors import StorageError

SEED_FILE = "audit.seed"
SEED_BYTES = 32
log = logging.getLogger(__name__)


def state_folder(folder: Path) -> Path:
    """Make it if it is not there; only this node's user may look in."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"state_dir {folder} can't be made: {error.strerror}") from error
    return folder


def dice_seed(folder: Path, seed_file: Path | None) -> bytes:
    """The secret that makes the choice of audits unforeseeable, and the same after a restart where the disk lets us."""
    path = seed_file or folder / SEED_FILE
    try:
        return path.read_bytes()[:4096]
    except FileNotFoundError:
        seed = secrets.token_bytes(SEED_BYTES)
    except OSError as error:
        log.warning("the seed %s can't be read (%s): a new one is used until the next start", path, error.strerror)
        return secrets.token_bytes(SEED_BYTES)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(seed)
    except OSError as error:
        log.warning("the seed can't be written to %s: %s", path, error.strerror)
    return seed
