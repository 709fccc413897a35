"""`cascade why ID`: why an answer is as it is. `cascade why --last 20`: what was answered lately, a line each."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import msgspec

from cascade.adapters.answer_json import answer_as_json
from cascade.adapters.settings_file import read_settings
from cascade.errors import CascadeError, LinkError, NotKept, SettingsError
from cascade.inference.explaining import WIDTH, explain, in_a_line, unanswered
from cascade_cli.called_as import short
from cascade_cli.why_sources import Found, from_agent, from_demo, from_journal, from_lines
from edge_agent.settings import EdgeSettings

ABOUT = "say why a question was answered as it was, hop by hop"
EXAMPLES = (
    ("cascade why --last 20", "by edge.toml in this folder; without one, what the demo's last run left"),
    ("cascade why --last 20 --config edge.toml", "what the running agent answered lately, a line each"),
    ("cascade why 5f1c09a2b7-17 --config edge.toml", "that question, in sentences"),
    ("cascade why 5f1c09a2b7-17 --journal state/journal", "after a crash, or on another machine; with times"),
    ("edge-agent --config edge.toml | cascade why --answers - --last 5", "from the lines that an agent prints"),
)
HERE = Path("edge.toml")
LAST = 20
MOST = 1000
WIDEST = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", default="", help="the question's id: `id` in its answer")
    parser.add_argument("--last", type=_count, metavar="N", help=f"list the last N questions ({LAST})")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, metavar="FILE", help="the agent's settings: its socket, else its journal")
    where.add_argument("--socket", type=Path, metavar="PATH", help="the socket of a running agent")
    where.add_argument("--journal", type=Path, metavar="FILE", help="the journal of an agent, running or not")
    where.add_argument("--answers", metavar="FILE", help="lines of JSON that an agent printed; - is standard input")
    parser.add_argument("--json", action="store_true", help="for machines")


def run(wanted: argparse.Namespace) -> int:
    if wanted.id and wanted.last:
        raise SettingsError("why", ["found an id and --last, expected one of them"])
    found = _find(wanted, wanted.id, wanted.last or LAST)
    if wanted.id and not found.questions and not found.moments:
        raise NotKept(f"nothing is known of question {wanted.id}: {found.kept}")
    if wanted.id:
        _tell_one(wanted.id, found, wanted.json)
    else:
        _tell_last(found, wanted.json)
    for limit in found.limits:
        sys.stderr.write(f"cascade why: {limit}\n")
    return 0


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 1 <= count <= MOST:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1 to {MOST}")
    return count


def _find(wanted: argparse.Namespace, question_id: str, last: int) -> Found:
    if wanted.answers is not None:
        return from_lines(wanted.answers, question_id, last)
    if wanted.journal is not None:
        return from_journal(wanted.journal, question_id, last)
    if wanted.socket is not None:
        return from_agent(wanted.socket, question_id, last)
    if wanted.config is not None:
        return _by_settings(wanted.config, question_id, last)
    return _unasked(question_id, last)


def _unasked(question_id: str, last: int) -> Found:
    """Nobody said where to look: where there is something most likely, and which that is."""
    from cascade_cli.demo.afterwards import left_there, usual_folder

    if HERE.exists():
        sys.stderr.write(f"cascade why: by {HERE} in this folder\n")
        return _by_settings(HERE, question_id, last)
    folder = usual_folder()
    if not left_there(folder):
        raise SettingsError(
            "why",
            [
                "where to look is missing, expected one of --config edge.toml (a running agent), --socket PATH, "
                "--journal FILE (after a crash, or elsewhere), --answers FILE (lines that an agent printed); without "
                f"any, {HERE} in this folder or what `cascade demo` left, and neither is there"
            ],
        )
    sys.stderr.write(f"cascade why: what the demo's last run left in {short(folder)}\n")
    return from_demo(folder, question_id, last)


def _by_settings(path: Path, question_id: str, last: int) -> Found:
    """The running agent knows it best; its journal knows what it has forgotten, and what came before a crash."""
    settings = read_settings(path, EdgeSettings)
    found, unreached = None, f"{path} has no table [ask_socket], by which a running agent could be asked"
    if settings.ask_socket is not None:
        try:
            found = from_agent(settings.ask_socket.path, question_id, last)
        except LinkError as error:
            unreached = str(error)
    if found is not None and (found.questions or settings.journal is None):
        return found
    if settings.journal is None:
        raise LinkError(f"{unreached}; and there is no table [journal], from which it could be told without the agent")
    try:
        return from_journal(settings.journal.path, question_id, last)
    except CascadeError as error:
        raise LinkError(f"{found.kept if found is not None else unreached}; and its journal: {error}") from error


def _tell_one(question_id: str, found: Found, as_json: bool) -> None:
    given = found.questions[0] if found.questions else []
    explanation = explain(given, found.moments) if given else unanswered(question_id, found.moments)
    if as_json:
        said = msgspec.to_builtins(explanation)
        _write_json({"explanation": said, "answers": [answer_as_json(answer) for answer in given]})
    else:
        sys.stdout.write(f"{explanation.page(_width())}\n")


def _width() -> int:
    """Of the terminal, up to where lines are still easy to read; elsewhere as ever."""
    return min(shutil.get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else WIDTH


def _tell_last(found: Found, as_json: bool) -> None:
    if as_json:
        _write_json(
            [{"line": in_a_line(given), "answers": list(map(answer_as_json, given))} for given in found.questions]
        )
        return
    sys.stdout.write("".join(f"{in_a_line(given)}\n" for given in found.questions))
    if not found.questions:
        sys.stdout.write(f"nothing was answered yet: {found.kept}\n")


def _write_json(said: object) -> None:
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
