"""`cascade init`: settings for one tier or all three, with every key, its unit, its default and a sentence."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from cascade import __version__
from cascade.adapters.bundle_folder import LoadedRelease, open_release, tiers_of
from cascade.adapters.link_settings import MQTT_PORT
from cascade.adapters.scripted_release import write_scripted_release
from cascade.adapters.settings_shape import Reader
from cascade.errors import BundleRejected, SettingsError, StorageError
from cascade_cli.called_as import called
from cascade_cli.check import TIERS
from cascade_cli.init_documents import PROGRAMS, Wishes, document_of, files_wanted
from cascade_cli.settings_page import page

ABOUT = "write settings files, every key with its unit, its default and a sentence"
EXAMPLES = (
    ("cascade init all --folder mine --insecure", "all three, to try out on this machine with a broker on 1883"),
    ("cascade init edge --site barn --name cam1 --release releases/ripe", "a device's, for its certificates"),
    ("cascade init fog --site barn --broker broker.barn.example:8883", "a gateway's"),
)
TRIAL = "trial"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Place(NamedTuple):
    """A host and a port, as a person writes them: `broker.example:8883`."""

    host: str
    port: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tier", nargs="?", choices=[*PROGRAMS, "all"], default="all", help="whose settings (all)")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to (here); made if it is not there")
    parser.add_argument("--site", default="site1", help="the place where devices and their gateway are (site1)")
    parser.add_argument("--name", help="the node's name within its site (device1, gateway1, cloud)")
    parser.add_argument("--release", type=Path, metavar="FOLDER", help="the models; absent: a trial release is made")
    parser.add_argument("--broker", type=_place, metavar="HOST:PORT", help="the MQTT broker (this machine)")
    parser.add_argument("--cloud", type=_place, metavar="HOST:PORT", help="the cloud (this machine, 8443)")
    parser.add_argument("--insecure", action="store_true", help="without certificates: for trials on this machine")
    parser.add_argument("--force", action="store_true", help="overwrite settings files that are there")


def run(wanted: argparse.Namespace) -> int:
    tiers = list(PROGRAMS) if wanted.tier == "all" else [wanted.tier]
    paths = {tier: wanted.folder / f"{tier}.toml" for tier in tiers}
    _refuse_to_overwrite(paths.values(), wanted.force)
    release = _release(wanted)
    wishes = _wishes(wanted, release)
    documents = {tier: document_of(tier, wishes) for tier in tiers}
    for tier, document in documents.items():
        _check(tier, document, wanted.folder)
    for tier, document in documents.items():
        _write(paths[tier], page(_kind(tier), document, _head(tier, paths[tier])))
    _tell(wanted, paths, documents, release)
    return 0


def _place(text: str) -> Place:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, ""
    if not host or (colon and port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected HOST:PORT, as broker.example:8883")
    return Place(host.strip("[]"), int(port) if port else None)


def _refuse_to_overwrite(paths: Any, force: bool) -> None:
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise StorageError(f"{', '.join(there)}: there already; --force overwrites, --folder writes elsewhere")


def _release(wanted: argparse.Namespace) -> LoadedRelease:
    """The one that was named; or one of models that say what their input tells them to, so that all can be tried."""
    if wanted.release is not None:
        here = tiers_of(wanted.release)
        if not here:
            raise BundleRejected(f"{wanted.release}: no bundle of any tier is here")
        return open_release(wanted.release, here[0])
    folder = wanted.folder / "releases" / TRIAL
    try:
        if not folder.exists():
            write_scripted_release(folder, TRIAL)
    except OSError as error:
        raise StorageError(f"{folder} can't be made: {error.strerror}") from error
    return open_release(folder, "edge")


def _wishes(wanted: argparse.Namespace, release: LoadedRelease) -> Wishes:
    host = "127.0.0.1" if wanted.insecure else "localhost"
    broker = wanted.broker or Place(host, None)
    cloud = wanted.cloud or Place(host, None)
    outside = [place.host for place in (broker, cloud) if place.host not in LOOPBACK]
    if wanted.insecure and outside:
        raise SettingsError("init", [f"--insecure: found {outside[0]}, expected only this machine ({LOOPBACK[0]})"])
    folder = wanted.release.absolute() if wanted.release is not None else Path("releases") / TRIAL
    return Wishes(
        site=wanted.site,
        name=wanted.name,
        task=release.manifest.task,
        release=str(folder),
        broker=(broker.host, broker.port),
        cloud=(cloud.host, cloud.port),
        insecure=wanted.insecure,
    )


def _check(tier: str, document: dict[str, Any], folder: Path) -> None:
    """Names and hosts are from the command line: what is wrong with them is said before anything is written. Files
    that are not there yet are told later."""
    reader = Reader(folder.absolute())
    reader.read(document, _kind(tier))
    wrong = [mistake for mistake in reader.mistakes if ": found no " not in mistake]
    if wrong:
        raise SettingsError(f"init {tier}", wrong)


def _kind(tier: str) -> type[Any]:
    return next(kind for name, kind in TIERS.values() if name == tier)


def _head(tier: str, path: Path) -> str:
    program, what = PROGRAMS[tier]
    return (
        f"The settings of {what}, by `cascade init` {__version__}. What is set stands as it is. What has its default "
        f"stands commented out, without a space: uncomment it to change it. Paths are relative to this file. "
        f"Is it right? `cascade check {path.name}`. Run it: `{program} --config {path.name}`."
    )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror}") from error


def _tell(
    wanted: argparse.Namespace, paths: dict[str, Path], documents: dict[str, Any], release: LoadedRelease
) -> None:
    lines = [f"written: {', '.join(map(str, paths.values()))}"]
    missing = sorted({f for document in documents.values() for f in files_wanted(document, wanted.folder)})
    if missing:
        lines += ["", "these files are named in them, and not there yet:", *(f"  {path}" for path in missing)]
    lines += ["", "next:"]
    lines += [f"  {called('cascade')} check {shlex.quote(str(path))}" for path in paths.values()]
    lines += ["then each in a terminal of its own:"]
    if wanted.insecure and set(paths) & {"edge", "fog"}:
        lines += [f"  {_broker(wanted.broker.port if wanted.broker and wanted.broker.port else MQTT_PORT)}"]
    lines += [
        f"  {called(PROGRAMS[tier].program)} --config {shlex.quote(str(paths[tier]))}" for tier in reversed(paths)
    ]
    if "edge" in paths:
        lines += ["ask, as a program would:", f"  {_asked_by(paths['edge'].parent, documents['edge'], release)}"]
        lines += ["and why it was answered so:"]
        lines += [f"  {called('cascade')} why --last 5 --config {shlex.quote(str(paths['edge']))}"]
    if wanted.release is None:
        lines.append(f"the models are a trial's ({wanted.folder / 'releases' / TRIAL}): name your own with --release")
    sys.stdout.write("\n".join(lines) + "\n")


def _broker(port: int) -> str:
    """For a trial on this machine: a site has its own."""
    if shutil.which("mosquitto") is not None:
        return f"mosquitto -p {port}"
    return f"{called('python')} -m cascade.adapters.transports.embedded_broker --port {port}"


def _sample(shape: tuple[int, ...], dtype: str) -> str:
    """Zeros; but an image whose numbers are all the same is refused by most releases."""
    if len(shape) < 2:
        return f"n.zeros({shape}, '{dtype}')"
    return f"(n.arange({prod(shape)}) % 17).astype('{dtype}').reshape({shape})"


def _asked_by(folder: Path, document: dict[str, Any], release: LoadedRelease) -> str:
    stage = release.bundle.manifest.stages[0]
    tensors = ", ".join(f"'{one.tensor}': {_sample(one.shape, one.dtype)}" for one in stage.inputs)
    stream, socket = document["streams"][0]["name"], folder / document["ask_socket"]["path"]
    asked = f"a = ask('{socket}', '{stream}', {{{tensors}}})"
    shown = "a['outcome'], a.get('label') or a.get('prediction'), 'by', a.get('tier'), a['reason'], a['id']"
    program = f"import numpy as n; from edge_agent.ask_client import ask; {asked}; print({shown})"
    return f'{called("python")} -c "{program}"'
