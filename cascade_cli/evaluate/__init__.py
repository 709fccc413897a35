"""`cascade evaluate CONFIG`: what a cascade is worth on a data set, beside each of its tiers alone."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cascade.errors import MissingDependency, SettingsError, StorageError, how_to_install

if TYPE_CHECKING:
    from cascade_cli.evaluate.evaluating import Ask, Evaluated
    from cascade_cli.evaluate.progress import Progress
    from cascade_cli.evaluate.replayed import Told
    from cascade_cli.evaluate.samples import DataSet
    from cascade_cli.evaluate.settings import Evaluation
    from cascade_cli.evaluate.systems import System

ABOUT = "replay a data set through the cascade and each tier alone: accuracy, latency, bytes, joules, together"
EXAMPLES = (
    ("cascade evaluate examples/digits/evaluate.toml", "a table, in memory, in seconds"),
    ("cascade evaluate examples/digits/evaluate.toml --pictures pictures", "and what thresholds trade, as SVG"),
    ("cascade evaluate examples/digits/evaluate.toml --processes --json", "over real processes, for programs"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="a TOML file: release, data, links (docs/evaluate.md)"
    )
    parser.add_argument("--processes", action="store_true", help="broker, cloud, gateway and agents as processes, here")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw them there, as SVG")
    parser.add_argument("--release", type=Path, metavar="FOLDER", help="in place of the one that CONFIG names")
    parser.add_argument("--data-root", type=Path, metavar="FOLDER", help="what paths in [data] are relative to")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where predictions are kept")


def run(wanted: argparse.Namespace) -> int:
    if find_spec("onnxruntime") is None and find_spec("ai_edge_litert") is None:
        raise MissingDependency(f"evaluating runs models: {how_to_install('demo')}, or the engine you need")
    from cascade_cli.evaluate.evaluating import evaluate
    from cascade_cli.evaluate.progress import Progress
    from cascade_cli.evaluate.report import as_json, told
    from cascade_cli.evaluate.settings import JournalOf

    settings, progress = _settings(wanted), Progress()
    if isinstance(settings.data, JournalOf) and (wanted.processes or wanted.pictures):
        raise SettingsError(str(wanted.config), ["a journal is only gone through again: no --processes, no --pictures"])
    if wanted.pictures is not None:
        _make(wanted.pictures)
    try:
        found = evaluate(
            settings, str(wanted.config), progress, _over_processes(settings) if wanted.processes else None
        )
    finally:
        progress.close()
    pictures = _draw(wanted.pictures, found, settings) if wanted.pictures and found.recordings else []
    if wanted.json:
        said = as_json(found, [str(path) for path in pictures])
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in told(found))
        sys.stdout.writelines(f"{path}\n" for path in pictures)
    return 0


def _make(folder: Path) -> None:
    """Before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: pictures can't be put there: {error.strerror}") from None


def _over_processes(settings: Evaluation) -> Ask:
    from cascade_cli.evaluate.over_processes import ask_processes

    def ask(systems: Sequence[System], data: DataSet, progress: Progress) -> Mapping[str, list[Told]]:
        try:
            return asyncio.run(ask_processes(settings.release, systems, data, settings, progress))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return ask


def _settings(wanted: argparse.Namespace) -> Evaluation:
    from cascade.adapters.settings_file import read_settings
    from cascade_cli.evaluate.settings import Evaluation, rooted

    if not wanted.config.exists():
        wanting = "release and data are enough (docs/evaluate.md), as in examples/digits/evaluate.toml"
        raise SettingsError(str(wanted.config), [f"found nothing, expected a TOML file of what to evaluate: {wanting}"])
    settings = read_settings(wanted.config, Evaluation)
    changes = {"release": wanted.release, "cache": wanted.cache}
    settings = msgspec.structs.replace(settings, **{key: value for key, value in changes.items() if value is not None})
    return settings if wanted.data_root is None else rooted(settings, wanted.config.absolute().parent, wanted.data_root)


def _draw(folder: Path, found: Evaluated, settings: Evaluation) -> list[Path]:
    from cascade_cli.evaluate import pictures

    assert found.recordings is not None
    made = {"trade-off": pictures.trade_off(settings.name or found.task, found.rows, found.sweeps)}
    reliable = pictures.reliabilities(found.recordings, found.right, settings.seed)
    if reliable:
        made["reliability"] = pictures.reliability_picture(reliable)
        made["confidence"] = pictures.confidence_picture(found.recordings, found.right, found.gates)
    return pictures.draw(folder, made)
