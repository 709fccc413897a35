"""How programs of this environment are called from where we are: the one that `make demo` makes is on no PATH."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def called(program: str) -> str:
    """Its name where the shell finds just that; else its path, as short as it goes."""
    beside = Path(sys.argv[0] if Path(sys.argv[0]).name == "cascade" else sys.executable).absolute().with_name(program)
    found = shutil.which(program)
    if not beside.exists() or (found is not None and Path(found).absolute() == beside):
        return program
    return short(beside)


def short(path: Path) -> str:
    """From where we are, where that is shorter."""
    here = os.path.relpath(path)
    return here if len(here) < len(str(path)) else str(path)
