"""`cascade release FOLDER`: what a release is made of, every byte of it verified; and making one of bare model files.

cascade release ripe --edge small.onnx --cloud large.onnx --labels labels.txt --dtype uint8 --divide 255
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from cascade.adapters.bundle_folder import open_release, tiers_of
from cascade.adapters.release_from_models import Cue, Kind, ModelFile, ReleasePlan, as_name, make_release
from cascade.errors import BundleRejected
from cascade.inference.gates import GATES
from cascade.release.bundle import TIERS
from cascade.release.ladder import Care

ABOUT = "make a release of model files, or verify one, and say what is in it"
CARE = "less doubt that a hop allows once its promise is in question (absent: 10; 1: thresholds never move)"
ACTIVATIONS = ("none", "softmax", "sigmoid")
EACH = ("threshold", "gate", "subtract", "divide", "activation", "output", "cues", "multiply_adds")
OF_THOSE_BELOW = ("threshold", "gate")
"""Said without a tier, they are not for the topmost: there is nobody above it to be asked."""
MAX_LABELS_BYTES = 1 << 20
Value = TypeVar("Value")

EXAMPLES = (("cascade release releases/ripe", "whether every byte is as it was released, and what each tier runs"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"{ABOUT}\n\n  {(__doc__ or '').strip().splitlines()[-1].strip()}"
    parser.epilog = (
        "[TIER=] before a value: for that tier alone, as --threshold edge=0.9 --threshold fog=0.7; may be repeated."
    )
    parser.add_argument("folder", type=Path, help="the release; with a model file for a tier it is made, or made anew")
    models = parser.add_argument_group("the models (.onnx or .tflite), one tier at least")
    for tier in TIERS:
        models.add_argument(f"--{tier}", type=Path, metavar="FILE")
    said = parser.add_argument_group("what the files don't say, about all")
    said.add_argument("--name", help="of the release (absent: the folder's)")
    said.add_argument("--task", help="what is asked, as settings name it (absent: the release's name)")
    said.add_argument("--kind", choices=get_args(Kind), default="classes", help="of prediction (absent: classes)")
    said.add_argument("--labels", type=_labels, default=(), metavar="FILE|A,B,C", help="a label in each line of a file")
    said.add_argument("--drop", type=_listed, default=(), metavar="A,B", help='labels that mean "nothing here"')
    said.add_argument("--shape", type=_shape, default=(), metavar="H,W,C", help="of one sample (absent: the model's)")
    said.add_argument("--dtype", default="", help="of a sample's numbers, as uint8 (absent: the model's)")
    said.add_argument("--tensor", default="input", help="the sample's name in questions (absent: input)")
    said.add_argument("--flat-is-fine", action="store_true", help="answer an image whose numbers are all the same too")
    said.add_argument("--clipped-share", type=_share, metavar="SHARE", help="refuse sound with so much at its limits")
    said.add_argument("--care", type=_times, default=10.0, metavar="TIMES", help=CARE)
    each = parser.add_argument_group("what the files don't say, about each")
    _add(each, "--threshold", _number, "NUMBER", "how sure is enough (absent: 0.8; the topmost always answers)")
    _add(each, "--gate", _one_of(tuple(sorted(GATES))), "NAME", f"{', '.join(sorted(GATES))} (absent: by the kind)")
    _add(each, "--subtract", _numbers, "NUMBER", "from each number of a sample; A,B,C: one for each colour")
    _add(each, "--divide", _numbers, "NUMBER", "each number of a sample by this, after subtracting")
    _add(each, "--activation", _one_of(ACTIVATIONS), "NAME", "none, softmax, sigmoid (absent: found out by trying)")
    _add(each, "--output", str, "NAME", "which output of the model counts (absent: its only one)")
    _add(each, "--cues", _cues, "A,B", f"{', '.join(get_args(Cue))}: of the sample, for a learned gate")
    _add(each, "--multiply-adds", _count, "COUNT", "of one sample, for the estimate of joules")


def run(wanted: argparse.Namespace) -> int:
    models = {tier: getattr(wanted, tier) for tier in TIERS if getattr(wanted, tier) is not None}
    if models:
        _make(wanted, models)
    _show(wanted.folder)
    return 0


def _make(wanted: argparse.Namespace, models: Mapping[str, Path]) -> None:
    name = wanted.name or as_name(wanted.folder.resolve().name)
    plan = ReleasePlan(
        name=name,
        task=wanted.task or name,
        models={tier: _model_file(tier, path, tier == [*models][-1], wanted) for tier, path in models.items()},
        kind=wanted.kind,
        labels=wanted.labels,
        drop=wanted.drop,
        tensor=wanted.tensor,
        shape=wanted.shape,
        dtype=wanted.dtype,
        flat_is_fine=wanted.flat_is_fine,
        clipped_share=wanted.clipped_share,
        care=Care(most=wanted.care),
    )
    _check_tiers(wanted, models)
    for note in make_release(wanted.folder, plan):
        sys.stdout.write(f"note: {note}\n")


def _check_tiers(wanted: argparse.Namespace, models: Mapping[str, Path]) -> None:
    """A value that no model takes is a mistake of whoever gave it, not something to pass over."""
    for option in EACH:
        for tier, _ in getattr(wanted, option):
            if tier and tier not in models:
                raise BundleRejected(f"--{option.replace('_', '-')} {tier}=…: there is no model for the {tier} here")
    *below, topmost = models
    for option in OF_THOSE_BELOW:
        if not below and any(not tier for tier, _ in getattr(wanted, option)):
            raise BundleRejected(
                f"--{option} is for tiers with another above, and the {topmost} alone has none: it always answers. "
                f"--{option} {topmost}=… gives it a gate all the same"
            )


def _model_file(tier: str, path: Path, topmost: bool, wanted: argparse.Namespace) -> ModelFile:
    said: dict[str, Any] = {}
    for option in EACH:
        for_all = not (topmost and option in OF_THOSE_BELOW)
        for of, value in getattr(wanted, option):
            if of == tier or (for_all and not of):
                said[option] = value
    return msgspec.structs.replace(ModelFile(path=path), **said)


def _show(folder: Path) -> None:
    here = tiers_of(folder)
    if not here:
        raise BundleRejected(f"{folder}: no bundle of any tier is here")
    for number, tier in enumerate(here):
        release = open_release(folder, tier)
        if number == 0:
            sys.stdout.write(f"release {release.id} for task {release.manifest.task}\n")
        size = sum(entry.bytes for entry in release.bundle.manifest.files.values())
        sys.stdout.write(f"  {tier}: bundle {release.bundle.manifest.name}, {size:,} bytes\n")
        for stage in release.ladder.stages:
            threshold = "" if stage.gate.threshold is None else f" {stage.gate.threshold:g}"
            sys.stdout.write(f"    stage {stage.name}: {stage.kind}, gate {stage.gate.name}{threshold}\n")


def _add(group: Any, option: str, read: Callable[[str], Value], metavar: str, about: str) -> None:
    group.add_argument(
        option, type=_of_a_tier(read), action="append", default=[], metavar=f"[TIER=]{metavar}", help=about
    )


def _of_a_tier(read: Callable[[str], Value]) -> Callable[[str], tuple[str, Value]]:
    """`edge=0.9` is for one tier, `0.9` for all. What is said last counts."""

    def read_one(text: str) -> tuple[str, Value]:
        tier, given, value = text.partition("=")
        if given and tier not in TIERS:
            raise argparse.ArgumentTypeError(f"no tier is called {tier!r}; there are {', '.join(TIERS)}")
        return (tier, read(value)) if given else ("", read(text))

    return read_one


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number") from None


def _numbers(text: str) -> float | tuple[float, ...]:
    numbers = tuple(_number(part) for part in text.split(","))
    return numbers if len(numbers) > 1 else numbers[0]


def _share(text: str) -> float:
    share = _number(text)
    if not 0.0 < share <= 1.0:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a share from above 0 to 1")
    return share


def _times(text: str) -> float:
    times = _number(text)
    if not 1.0 <= times <= 1e6:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1 on")
    return times


def _cues(text: str) -> tuple[str, ...]:
    named = _listed(text)
    unknown = [word for word in named if word not in get_args(Cue)]
    if unknown or len(set(named)) != len(named):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected some of {', '.join(get_args(Cue))}, each once")
    return named


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number")
    return int(text)


def _one_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected one of {', '.join(known)}")
        return text

    return read


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.replace("x", ",").split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected sizes, as 96,96,3")
    return tuple(int(size) for size in sizes)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _labels(text: str) -> tuple[str, ...]:
    """A file with a label in each line, or the labels themselves."""
    path = Path(text)
    if not path.is_file():
        if "," not in text:
            raise argparse.ArgumentTypeError(f"found {text!r}, which is no file; expected one, or labels as cat,dog")
        return _listed(text)
    try:
        if path.stat().st_size > MAX_LABELS_BYTES:
            raise argparse.ArgumentTypeError(f"{text}: more than {MAX_LABELS_BYTES} bytes")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{text}: can't be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())
