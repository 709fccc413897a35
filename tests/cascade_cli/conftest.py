"""The `cascade` command, called in this process as a shell would call it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cascade_cli.__main__ import main


class Said(NamedTuple):
    """How the command ended, and what it wrote."""

    code: object
    out: str
    err: str


@pytest.fixture
def cascade(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: str | Path | int) -> Said:
        monkeypatch.setattr(sys, "argv", ["cascade", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(ended.value.code, said.out, said.err)

    return run
