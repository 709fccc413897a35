"""`cascade calibrate RELEASE`: thresholds that keep a promise, from what each stage says of recorded samples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cascade.adapters.recording_file import read_recordings
from cascade.adapters.whole_file import write_whole
from cascade.errors import MissingDependency, SettingsError, StorageError, how_to_install
from cascade.inference.recordings import Recordings
from cascade.inference.references import LEAST_SAMPLES, enough_for_references
from cascade.release.calibrated import METHODS
from cascade_cli.calibrate_samples import USUAL_LABELS, counted, described, record_samples

if TYPE_CHECKING:
    from cloud_service.calibrating.adopting import Opened
    from cloud_service.calibrating.targets import Circumstances
    from cloud_service.calibrating.working_out import Outcome, Plan

ABOUT = "find the thresholds of a whole ladder that keep a promise, from recorded predictions"
EXAMPLES = (
    (
        "cascade calibrate releases/ripe --recordings ripe.npz --record samples.npz",
        "only record what each stage says of labelled samples",
    ),
    (
        "cascade calibrate releases/ripe --recordings ripe.npz --target at most 0.5 points worse than the cloud",
        "the cheapest thresholds that keep that, with 90 % confidence; into the release",
    ),
    (
        "cascade calibrate releases/ripe --recordings ripe.npz --method platt --plots pictures",
        "calibrate confidences, and draw how reliable they are before and after",
    ),
)
MOST = 1e6
"""Of any fact: more is a slip of the pen, and overflows in the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", type=Path, help="the release folder, with the bundles of all its tiers")
    parser.add_argument("--recordings", type=Path, required=True, metavar="FILE", help="what each stage says (.npz)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--json", action="store_true", help="for machines")
    first = parser.add_argument_group("record first")
    first.add_argument("--record", type=Path, metavar="DATA", help="samples: an .npz file, or a folder of images")
    first.add_argument("--labels", metavar="NAME", help=f"of an .npz file: its array of labels ({USUAL_LABELS})")
    first.add_argument("--encoding", default="zlib", help="that of the streams: none, zlib (absent), zstd")
    what = parser.add_argument_group("what is wanted")
    what.add_argument(
        "--target", nargs="+", action="append", default=[], metavar="WORD",
        help="at most 0.5 points worse than the cloud, with 90 %% confidence | at most 3 %% wrong [on CLASS] | "
        "at most 1 %% disagreement with the cloud | at most 5 kB per minute | at most 2 mJ per question; "
        "may be repeated: all hold together",
    )  # fmt: skip
    what.add_argument("--method", choices=METHODS, default="", help="calibrate the scores of every stage anew, like so")
    what.add_argument("--deferral", action="store_true", help="learn gates that ask where the top does better")
    what.add_argument("--plots", type=Path, metavar="FOLDER", help="with --method: draw reliability, as SVG")
    facts = parser.add_argument_group("what recordings don't know")
    facts.add_argument("--rate", type=float, metavar="N", help="questions per minute")
    facts.add_argument("--joules-per-byte", type=float, default=0.0, metavar="J", help="of the device's radio")
    facts.add_argument("--cost", action="append", default=[], metavar="CLASS=N", help="what a wrong one counts (1)")
    facts.add_argument("--without", action="append", default=[], metavar="CLASS", help="that the field has none of")
    facts.add_argument("--repeats", action="store_true", help="that samples are repeated in the field as often as here")
    facts.add_argument("--learn-share", type=float, metavar="N", help="of samples, to learn on (0.3; orders: 0.15)")
    facts.add_argument("--seed", type=int, default=0, metavar="N", help="which samples those are")


def run(wanted: argparse.Namespace) -> int:
    rooms = _rooms()
    plan: Plan = _plan(wanted, rooms)
    opened: Opened = rooms["adopting"].open_all(wanted.release)
    if wanted.plots is not None:
        _make(wanted.plots)
    if wanted.record is not None:
        record_samples(wanted)
    recordings = read_recordings(wanted.recordings)
    rooms["adopting"].check_same(opened, recordings)
    if not (plan.targets or plan.method or plan.deferral):
        _say(f"{wanted.recordings}: {described(recordings)}\n", {"recorded": counted(recordings)}, wanted.json)
        return 0
    outcome: Outcome = rooms["working_out"].work_out(recordings, opened.calibrations, opened.gates, plan)
    if wanted.plots is not None:
        _draw(wanted.plots, outcome, rooms["reliability"])
    digest = "" if wanted.dry_run else rooms["adopting"].adopt(opened, recordings, outcome, plan)
    told = "".join(_told(opened, recordings, outcome, plan, digest))
    _say(told, {"recorded": counted(recordings), **_as_json(opened, outcome, digest)}, wanted.json)
    return 0


def _rooms() -> dict[str, Any]:
    """Loaded on use: scipy is only where ladders are calibrated."""
    try:
        return {
            name: import_module(f"cloud_service.calibrating.{name}")
            for name in ("adopting", "working_out", "targets", "reliability")
        }
    except ImportError as error:
        raise MissingDependency(f"calibrating needs scipy: {how_to_install('cloud')} ({error})") from error


def _plan(wanted: argparse.Namespace, rooms: dict[str, Any]) -> Plan:
    targets, confidence = rooms["targets"].read_targets([" ".join(words) for words in wanted.target])
    _check(wanted)
    circumstances: Circumstances = rooms["targets"].Circumstances(
        wanted.rate, wanted.joules_per_byte, dict(_cost(each) for each in wanted.cost)
    )
    plan: Plan = rooms["working_out"].Plan(
        targets=targets,
        confidence=confidence,
        circumstances=circumstances,
        method=wanted.method,
        deferral=wanted.deferral,
        without=tuple(wanted.without),
        repeats=wanted.repeats,
        learn_share=wanted.learn_share,
        seed=wanted.seed,
    )
    return plan


def _check(wanted: argparse.Namespace) -> None:
    """A wrong fact makes a promise that is false, and looks as good as a true one."""
    if wanted.learn_share is not None and not 0.05 <= wanted.learn_share <= 0.9:
        raise SettingsError("--learn-share", [f"found {wanted.learn_share}, expected 0.05 to 0.9"])
    if wanted.rate is not None and not 0.0 < wanted.rate <= MOST:
        raise SettingsError("--rate", [f"found {wanted.rate}, expected how many questions a minute: more than 0"])
    if not 0.0 <= wanted.joules_per_byte <= MOST:
        raise SettingsError("--joules-per-byte", [f"found {wanted.joules_per_byte}, expected 0 or more"])
    if wanted.seed < 0:
        raise SettingsError("--seed", [f"found {wanted.seed}, expected a whole number, 0 or more"])
    if wanted.plots is not None and not wanted.method:
        raise SettingsError("--plots", ["draws what --method calibrates, and there is no --method"])


def _cost(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        cost = float(number)
    except ValueError:
        cost = -1.0
    if not name or not 0.0 <= cost <= MOST:
        raise SettingsError("--cost", [f"found {text!r}, expected CLASS=NUMBER, as fault=20"])
    return name, cost


def _say(text: str, facts: dict[str, Any], as_json: bool) -> None:
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n" if as_json else text)


def _make(folder: Path) -> None:
    """Before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: plots can't be put there: {error.strerror}") from None


def _draw(folder: Path, outcome: Outcome, rooms: Any) -> None:
    for (tier, name), fitted in outcome.fitted.items():
        picture = rooms.reliability_svg(f"{tier}/{name}", fitted.before, fitted.after)
        write_whole(folder / f"reliability-{tier}-{name}.svg", picture.encode())


def _told(opened: Opened, recordings: Recordings, outcome: Outcome, plan: Plan, digest: str) -> Iterator[str]:
    yield f"{described(recordings)}\n"
    yield f"task {recordings.task}, {outcome.learned_on:,} samples of it to learn on\n"
    for (tier, name), fitted in outcome.fitted.items():
        error = f"calibration error {fitted.before.said()}, with {plan.method} {fitted.after.said()}"
        yield f"  {tier}/{name}: {error}, 95 % intervals\n"
    if outcome.guarantee is not None:
        yield f"with {plan.confidence:.0%} confidence, tested on {outcome.guarantee.samples:,} samples:\n"
        for target, seen in zip(plan.targets, outcome.guarantee.seen, strict=True):
            yield f"  {seen.target}: found {target.said(seen.found)}, at most {target.said(seen.bound or 0.0)}\n"
        for tier, share in outcome.guarantee.scored.tier_shares().items():
            yield f"  {tier} answers {share:.1%}\n"
        yield f"  {outcome.guarantee.scored.device_bytes.mean():.1f} bytes up per question\n"
        if not enough_for_references(outcome.guarantee.scored.recordings):
            yield (
                f"  no reference: fewer than {LEAST_SAMPLES} samples say too little of what is usual, "
                "so no hop will notice that the field has become another\n"
            )
    for (tier, name), gate in zip(opened.places, outcome.gates, strict=True):
        threshold = "" if gate.threshold is None else f" {gate.threshold:.6g}"
        yield f"  gate of {tier}/{name}: {gate.name}{threshold}\n"
    if outcome.fitted and outcome.guarantee is None:
        yield "  the thresholds are as they were, for other scores, and promise nothing: find new ones (--target)\n"
    yield f"{opened.folder}: written, {digest[:12]}\n" if digest else "nothing was written\n"


def _as_json(opened: Opened, outcome: Outcome, digest: str) -> dict[str, Any]:
    found = outcome.guarantee
    return {
        "digest": digest,
        "learned_on": outcome.learned_on,
        "gates": [
            {"tier": tier, "stage": name, "gate": gate}
            for (tier, name), gate in zip(opened.places, outcome.gates, strict=True)
        ],
        "calibration": [
            {"tier": tier, "stage": name, "before": each.before._asdict(), "after": each.after._asdict()}
            for (tier, name), each in outcome.fitted.items()
        ],
        "tested_on": found.samples if found else 0,
        "reference": bool(found and enough_for_references(found.scored.recordings)),
        "seen": found.seen if found else (),
        "answered": found.scored.tier_shares() if found else {},
        "bytes_per_question": float(found.scored.device_bytes.mean()) if found else None,
    }
