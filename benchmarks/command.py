"""The command line that every benchmark has, and the file and table that come of it.

python -m benchmarks.<subject> [--rounds N] [--quick] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import OtherPrograms, measured_on, said
from benchmarks.rounds import Effort, Tell

BUILD = Path("build/benchmarks")
QUICK = "quick: a trial of the tool, its figures mean nothing"


class Subject(NamedTuple):
    """A benchmark."""

    name: str
    title: str
    measure: Callable[[Effort, Tell], dict[str, Any]]
    table: Callable[[dict[str, Any]], str]
    rounds: int = 5
    picture: Callable[[dict[str, Any]], str] | None = None
    """SVG of a report, written beside its JSON file."""


def run(subject: Subject, effort: Effort, out: Path, tell: Tell) -> dict[str, Any]:
    """Measure, write the JSON file, and return what is in it."""
    tell(subject.title)
    machine, others = measured_on(), OtherPrograms()
    result = subject.measure(effort, tell)
    report = {
        "subject": subject.name,
        "title": subject.title,
        "quick": effort.quick,
        "rounds": effort.rounds,
        "measured_on": machine,
        "meanwhile": others.meanwhile(),
        "result": result,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    if subject.picture is not None:
        out.with_suffix(".svg").write_text(subject.picture(report))
    return report


def shown(subject: Subject, report: dict[str, Any]) -> str:
    """One block of the combined table."""
    lines = [subject.title, f"  {said(report['measured_on'], report['meanwhile'])}"]
    if report["quick"]:
        lines.append(f"  {QUICK}")
    return "\n".join([*lines, subject.table(report["result"])])


def arguments(about: str | None, rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each system has its turn")
    parser.add_argument("--quick", action="store_true", help="only see that it works: the figures mean nothing")
    return parser


def effort_of(wanted: argparse.Namespace) -> Effort:
    return Effort(rounds=1 if wanted.quick else wanted.rounds, quick=wanted.quick)


def main(subject: Subject, about: str | None) -> None:
    parser = arguments(about, subject.rounds)
    parser.add_argument("--out", type=Path, default=BUILD / f"{subject.name}.json")
    wanted = parser.parse_args()
    report = run(subject, effort_of(wanted), wanted.out, tell)
    print(shown(subject, report))
    print(f"written to {wanted.out}")


def tell(line: str) -> None:
    """What goes on, on standard error: the table alone is on standard output."""
    print(line, file=sys.stderr, flush=True)
