"""What the demo leaves behind: its answers and its agents' journals, so that there is something to ask about."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from cascade_cli.called_as import called, short
from cascade_cli.demo.asking import Given

ANSWERS = "answers.jsonl"
JOURNAL = ".journal"


class Left(NamedTuple):
    """What can be asked about now."""

    answers: Path
    journal: Path | None
    usual: bool
    """`cascade why` finds them by itself."""
    telling: str
    """The id of a question whose answer has a story: provisional first, corrected later, if there is one."""


def usual_folder() -> Path:
    """Where a user's programs keep what may be lost: by the XDG's rule."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "cascade" / "demo"


def left_there(folder: Path) -> bool:
    return (folder / ANSWERS).exists()


def journal_of(folder: Path, agent: str) -> Path | None:
    path = folder / f"{agent}{JOURNAL}"
    return path if path.exists() else None


class Notes:
    """The answers that the demo's applications were given while they were shown, in order."""

    def __init__(self) -> None:
        self._given: list[Given] = []

    def note(self, given: Given) -> None:
        self._given.append(given)

    def leave(self, folder: Path, journals: Path) -> Left | None:
        """Write them, and move the journals beside them. None where that can't be: the demo went well anyway."""
        telling = self._telling()
        if telling is None:
            return None
        lines = [msgspec.json.encode(given.answer) for given in self._given]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ANSWERS).write_bytes(b"".join(line + b"\n" for line in lines))
            for path in journals.glob(f"*{JOURNAL}"):
                shutil.move(path, folder / path.name)
        except OSError:
            return None
        return Left(folder / ANSWERS, journal_of(folder, telling.agent), folder == usual_folder(), telling.answer["id"])

    def _telling(self) -> Given | None:
        corrected = (given for given in self._given if given.answer["correction"] and len(given.answer["trail"]) > 1)
        return next(corrected, self._given[-1] if self._given else None)


def things_to_try(left: Left | None, release: Path) -> str:
    """Commands that work now, on this machine, from this folder."""
    asked = [
        (["release", short(release)], "what was run, stage by stage"),
        (["--help"], "what else there is"),
    ]
    if left is not None:
        asked = [
            (["why", "--last", "20", *_list_source(left)], "who answered what, a line each"),
            (["why", left.telling, *_source(left)], "the story of that one: when it was asked, and why it climbed"),
        ]
    own = ["init", "all", "--insecure", "--folder", "my-cascade", "--release", short(release)]
    tried = [*asked, (own, "settings of your own, with every key explained")]
    lines = [f"  {shlex.join([called('cascade'), *words])}\n      {about}" for words, about in tried]
    return "\n".join(["Three things to try next:", *lines])


def _list_source(left: Left) -> Sequence[str]:
    return () if _found_by_itself(left) else ("--answers", short(left.answers))


def _source(left: Left) -> Sequence[str]:
    if _found_by_itself(left):
        return ()
    if left.journal is not None:
        return ("--journal", short(left.journal))
    return ("--answers", short(left.answers))


def _found_by_itself(left: Left) -> bool:
    """Where there are settings of an agent, `cascade why` means that one."""
    return left.usual and not Path("edge.toml").exists()
