"""`cascade demo`: a whole cascade on this machine, its line to the cloud cut and mended, and what it costs."""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import msgspec

from cascade.errors import MissingDependency

ABOUT = "see a three-tier cascade at work: real processes, real handwritten digits, and a link that is cut"
EXAMPLES = (
    ("cascade demo", "a minute: the link to the cloud is cut, and mended"),
    ("cascade demo --seconds 6 --json", "shorter, and only the last table, for machines"),
)
RELEASE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "release"
NEEDED = {"onnxruntime": "onnxruntime", "grpc": "grpcio", "sklearn": "scikit-learn"}
INTERRUPTED = 130
NEXT = """
Three things to try next:
  cascade release examples/digits/release     what was run, byte for byte
  python examples/digits/train.py             train the three models again
  README.md, "Run it"                         the same on your own devices
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="only the table, as JSON")
    parser.add_argument("--seconds", type=float, default=18.0, help="how long questions are shown live (18)")
    parser.add_argument("--release", type=Path, default=RELEASE, help="the three models (those of examples/digits)")


def run(wanted: argparse.Namespace) -> int:
    missing = sorted(package for module, package in NEEDED.items() if find_spec(module) is None)
    if missing:
        raise MissingDependency(f"the demo needs {', '.join(missing)}: pip install 'cascade-runtime[demo]'")
    try:
        return asyncio.run(_run(wanted))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("\nstopped; everything that was started has ended\n")
        return INTERRUPTED


async def _run(wanted: argparse.Namespace) -> int:
    from cascade_cli.demo.digits import splits
    from cascade_cli.demo.fleet import Fleet
    from cascade_cli.demo.show import Show
    from cascade_cli.demo.view import View, as_json, table

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    view = View(io.StringIO() if wanted.json else sys.stdout)
    with tempfile.TemporaryDirectory(prefix="cascade-demo-") as folder:
        fleet = Fleet(Path(folder), wanted.release)
        try:
            await fleet.start(view.say)
            rows = await Show(fleet, splits()[2], view, wanted.seconds).run()
        finally:
            await fleet.stop()
    if wanted.json:
        sys.stdout.write(msgspec.json.encode({"broker": fleet.broker, "rows": as_json(rows)}).decode() + "\n")
    else:
        view.say("\n".join(["", *table(rows), NEXT.rstrip()]))
    return 0
