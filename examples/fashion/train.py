"""Trains the models of this example, and writes them as a release: three exits for the device, a larger one above.

    python examples/fashion/train.py                 Fashion-MNIST from CASCADE_DATA; over an hour of one core
    python examples/fashion/train.py --kind mnist    MNIST, into folders of its own
    python examples/fashion/train.py --drawn         garments that a generator draws; a minute

Each network is kept in `--work` after each round, with the seconds that it took; a second run goes on from there.
Nothing here looks at the test set. Needs `pip install '.[compress,cloud]'`, in the folder of this
repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from data import FASHION, KINDS, Kind, Split, drawn, home, real, save
from networks import cloud, device

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.release.bundle import BundleManifest, InputSpec, Lineage, StageGate, StageSpec
from cascade.release.ladder import GateSpec
from cascade.release.preprocessing import Check
from cloud_service.compression.early_exit.exporting import ExportedSegment, export_segments, stages_of
from cloud_service.compression.early_exit.joint_training import Training, train_jointly
from cloud_service.compression.early_exit.network import SegmentedNetwork, probabilities
from cloud_service.compression.rounded_weights import round_weights

TARGET = "at most 0.5 points worse than the cloud, with 90 % confidence"
ALONE = (0.0, 0.0, 1.0)
"""Weights of exits: the same network, trained as if it had only the last."""
SHIFT = 2
SOONER = {"fashion": 1.0, "mnist": 0.5}
"""Of the rounds of the device's networks: digits are learned in fewer."""
WIDTHS = {"fashion": (1.0, 0.5), "mnist": (0.5, 0.25)}
"""Of the device's network, and of the smaller ones beside it."""
IMAGE = InputSpec(tensor="image", shape=(28, 28), dtype="uint8", features=(Check(),))
"""A picture of one grey is what a covered or dead camera gives, and no garment: it is refused."""


class Recipe(NamedTuple):
    """A network, and how it is trained: round after round, the later ones with smaller steps."""

    network: Callable[[], SegmentedNetwork]
    rounds: tuple[Training, ...]
    taught: bool = True
    """The last round's teacher is the network above: who errs as that one errs need not climb."""


def recipes(kind: Kind, epochs: int, bfloat16: bool) -> dict[str, Recipe]:
    widths = WIDTHS[kind.name]

    def rounds(factor: float = 1.0, **more: Any) -> tuple[Training, ...]:
        first = max(1, round(factor * epochs))
        again = Training(epochs=max(1, first // 2), learning_rate=2e-3, seed=1, bfloat16=bfloat16, **more)
        return Training(epochs=first, bfloat16=bfloat16, **more), again

    def below(width: float, **more: Any) -> Recipe:
        both = rounds(SOONER[kind.name], **more)
        return Recipe(lambda: device(width), (*both, replace(both[1], seed=2)))

    return {
        "cloud": Recipe(lambda: cloud(mirrored=kind.mirrored), rounds(1.2, label_smoothing=0.05), taught=False),
        "device": below(widths[0]),
        "plain": below(widths[0], exit_weights=ALONE),
        **{f"plain-{width:g}": below(width, exit_weights=ALONE) for width in widths[1:]},
    }


def mirrored(images: Any, chance: torch.Generator) -> Any:
    """By a coin each, and shifted."""
    coins = torch.rand(len(images), generator=chance) < 0.5
    return shifted(torch.where(coins[:, None, None], images.flip(2), images), chance)


def shifted(images: Any, chance: torch.Generator) -> Any:
    """A little, all of a batch alike."""
    down, right = (int(each) for each in torch.randint(0, 2 * SHIFT + 1, (2,), generator=chance))
    padded = torch.nn.functional.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))
    return padded[:, down : down + images.shape[1], right : right + images.shape[2]]


def trained(
    name: str, recipe: Recipe, kind: Kind, split: Split, work: Path, above: SegmentedNetwork | None
) -> SegmentedNetwork:
    torch.manual_seed(0)
    network = recipe.network().to(memory_format=torch.channels_last)
    images, labels = (torch.from_numpy(np.ascontiguousarray(each)) for each in split.train)
    augment = mirrored if kind.mirrored else shifted
    for number, how in enumerate(recipe.rounds, 1):
        kept = work / f"{name}.round{number}.pt"
        if not kept.exists():
            began, used = time.perf_counter(), time.process_time()
            teacher = above.last if above is not None and recipe.taught and number == len(recipe.rounds) else None
            teller = _teller(f"{name}, round {number}", network, split)
            train_jointly(network, images, labels.long(), how, augment, teller, teacher)
            seconds = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - used}
            work.mkdir(parents=True, exist_ok=True)
            torch.save(network.state_dict(), kept)
            kept.with_suffix(".json").write_text(json.dumps(seconds))
        network.load_state_dict(torch.load(kept, weights_only=True))
    return network.eval()


def _teller(name: str, network: SegmentedNetwork, split: Split) -> Callable[[int, float, float], None]:
    def told(epoch: int, loss: float, seconds: float) -> None:
        right = accuracies(network, split)
        shown = " ".join(f"{each:.4f}" for each in right)
        print(f"{name}: epoch {epoch + 1}, {seconds:.0f} s, loss {loss:.4f}, right {shown}", flush=True)

    return told


def accuracies(network: SegmentedNetwork, split: Split) -> list[float]:
    """Of every exit, on the images for choosing."""
    images = torch.from_numpy(split.choose.images)
    return [float((each.argmax(1) == split.choose.labels).mean()) for each in probabilities(network, images)]


def exported(name: str, network: SegmentedNetwork, split: Split, work: Path) -> list[ExportedSegment]:
    network = network.to(memory_format=torch.contiguous_format)
    segments = export_segments(network, torch.from_numpy(split.choose.images[:512]), work / name)
    for segment in segments:
        round_weights(segment.path, 8)
    return segments


def written(
    folder: Path, kind: Kind, tier: Any, stages: tuple[StageSpec, ...], segments: list[ExportedSegment]
) -> BundleManifest:
    lineage = Lineage(made_by="examples/fashion/train.py", made_from=(kind.made_from,))
    manifest = BundleManifest(
        format=1, name=f"{kind.name}-{tier}", task=kind.name, tier=tier, stages=stages, files={}, lineage=lineage
    )
    return write_bundle(folder / tier, manifest, {each.path.name: each.path for each in segments}).manifest


def write_cascade(folder: Path, kind: Kind, device: list[ExportedSegment], above: list[ExportedSegment]) -> None:
    """The gates are those from which `cascade calibrate` finds thresholds."""
    below = written(folder, kind, "edge", stages_of(device, IMAGE, kind.labels), device)
    top = written(folder, kind, "cloud", stages_of(above, IMAGE, kind.labels, names=["whole"]), above)
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("confidence", 0.9)) for each in below.stages]
    gates += [StageGate(tier="cloud", stage=each.name, gate=GateSpec("always")) for each in top.stages]
    write_release(folder, kind.name, kind.name, gates)


def write_single(folder: Path, kind: Kind, segments: list[ExportedSegment]) -> None:
    """A device's only model: the others' peer, without a gate and without a cloud. Its exits but the last are never
    asked for: its segments are one file."""
    manifest = written(folder, kind, "edge", stages_of(segments, IMAGE, kind.labels, names=["single"]), segments)
    gates = [StageGate(tier="edge", stage=each.name, gate=GateSpec("always")) for each in manifest.stages]
    write_release(folder, folder.name, kind.name, gates)


def as_one(network: SegmentedNetwork) -> SegmentedNetwork:
    """The whole of a network as one segment."""
    return SegmentedNetwork([(torch.nn.Sequential(*network.trunks), network.exits[-1])])


def calibrate(folder: Path, kind: Kind, split: Split, work: Path, target: str) -> None:
    """By the command, as anybody would."""
    samples, recordings = work / "choose.npz", work / "recordings.npz"
    save(samples, split.choose, kind)
    wanted = ["calibrate", folder, "--recordings", recordings, "--record", samples, "--target", *target.split()]
    subprocess.run([sys.executable, "-m", "cascade_cli", *map(str, wanted)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default=FASHION.name, help="of images")
    parser.add_argument("--out", type=Path, help="the release (default: release, mnist/release)")
    parser.add_argument("--singles", type=Path, help="releases of single models (default: single, mnist/single)")
    parser.add_argument("--work", type=Path, default=Path("build"), help="what is kept between runs, by kind")
    parser.add_argument("--epochs", type=int, default=12, help="of the first round; half as many follow")
    parser.add_argument("--bfloat16", action="store_true", help="where the processor multiplies these")
    parser.add_argument("--drawn", action="store_true", help="on drawn garments, not on Fashion-MNIST")
    parser.add_argument("--target", default=TARGET, help="of the thresholds of the cascade")
    parser.add_argument("--only", default="", help="names of networks, with commas: train them and write nothing")
    wanted = parser.parse_args()
    kind = KINDS[wanted.kind]
    split = drawn() if wanted.drawn else real(kind)
    if split is None:
        parser.error(f"{kind.title} is not there: say where by CASCADE_DATA, or take --drawn")
    torch.set_num_threads(1)
    work, known = wanted.work / kind.name, recipes(kind, wanted.epochs, wanted.bfloat16)
    names = wanted.only.split(",") if wanted.only else list(known)
    above = trained("cloud", known["cloud"], kind, split, work, None)
    networks = {name: trained(name, known[name], kind, split, work, above) for name in names if name != "cloud"}
    networks["cloud"] = above
    if wanted.only:
        return
    out, singles = wanted.out or home(kind) / "release", wanted.singles or home(kind) / "single"
    segments = {name: exported(name, networks[name], split, work) for name in ("device", "cloud")}
    write_cascade(out, kind, segments["device"], segments["cloud"])
    for name in names:
        if name.startswith("plain"):
            write_single(singles / name, kind, exported(name, as_one(networks[name]), split, work))
    calibrate(out, kind, split, work, wanted.target)


if __name__ == "__main__":
    main()
