"""`cascade demo`: a whole cascade on this machine, its line to the cloud cut and mended, and what it costs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

from cascade.errors import MissingDependency, how_to_install
from cascade_cli.exit_codes import INTERRUPTED

ABOUT = "see a three-tier cascade at work: real processes, real handwritten digits, and a link that is cut"
EXAMPLES = (
    ("cascade demo", "a minute: the link to the cloud is cut, and mended"),
    ("cascade demo --seconds 6 --json", "shorter, and only the last table, for machines"),
)
LEAST_S, MOST_S = 1.0, 3600.0
RELEASE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "release"
NEEDED = {"onnxruntime": "onnxruntime", "grpc": "grpcio", "sklearn": "scikit-learn"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="only the table, as JSON")
    parser.add_argument("--seconds", type=_seconds, default=18.0, help="how long questions are shown live (18)")
    parser.add_argument("--release", type=Path, default=RELEASE, help="the three models (those of examples/digits)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for answers and journals (in your state folder)")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not LEAST_S <= seconds <= MOST_S:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected seconds from {LEAST_S:g} to {MOST_S:g}")
    return seconds


def run(wanted: argparse.Namespace) -> int:
    missing = sorted(package for module, package in NEEDED.items() if find_spec(module) is None)
    if missing:
        raise MissingDependency(f"the demo needs {', '.join(missing)}: {how_to_install('demo')}")
    try:
        return asyncio.run(_run(wanted))
    except (KeyboardInterrupt, asyncio.CancelledError):
        with contextlib.suppress(OSError):  # where the terminal was closed, nobody reads it
            sys.stderr.write("\nstopped; everything that was started has ended\n")
        return INTERRUPTED


async def _run(wanted: argparse.Namespace) -> int:
    from cascade_cli.demo.afterwards import Notes, things_to_try, usual_folder
    from cascade_cli.demo.digits import splits
    from cascade_cli.demo.fleet import Fleet
    from cascade_cli.demo.show import Show
    from cascade_cli.demo.view import View, as_json, table
    from cascade_cli.local_processes import end_by_signal, short_folder

    end_by_signal()
    view, notes = View(io.StringIO() if wanted.json else sys.stdout), Notes()
    with short_folder("cascade-demo-") as folder:
        fleet = Fleet(Path(folder), wanted.release)
        try:
            await fleet.start(view.say)
            rows = await Show(fleet, splits()[2], view, wanted.seconds, notes.note).run()
        finally:
            await fleet.stop()
        left = notes.leave(wanted.keep or usual_folder(), Path(folder))
    if wanted.json:
        said = {"broker": fleet.broker, "rows": as_json(rows), "answers": str(left.answers) if left else None}
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    else:
        view.say("\n".join(["", *table(rows), "", things_to_try(left, wanted.release)]))
    return 0
