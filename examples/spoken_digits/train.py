"""Trains the two models of this example on spoken digits and writes them as a release.

    CASCADE_DATA=… python examples/spoken_digits/train.py [--without george] [--out examples/spoken_digits]

The device has 15 coarse spectra of a second and 5,162 weights. The model above has finer spectra, a network that learns
from these words made faster, slower, duller, noisier, and beside it a listener that heard thousands of people before
(`listener.py`). Where CASCADE_DATA has none, the network is alone. Beside `release` lie the clips that nothing here has
looked at: `calibrate.npz`, `test.npz`, and with --without `stranger.npz`.
"""

from __future__ import annotations

import argparse
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from clips import RATE, Array, Clips, placed, read, split, spoken_faster
from convolution import Network
from graph import FED, Graph
from listener import EARS, FILE, Layer, Listener, first_layers
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from variations import Variations

from cascade.adapters.bundle_folder import write_bundle, write_release
from cascade.inference.features import apply_features
from cascade.release.bundle import BundleManifest, Costs, InputSpec, Lineage, OutputSpec, StageGate, StageSpec, Tier
from cascade.release.features import Feature
from cascade.release.ladder import Care, GateSpec
from cascade.release.preprocessing import Check, Normalise, Reshape
from cascade.release.spectra import LogMel

HERE = Path(__file__).parent
FIRST: tuple[Feature, ...] = (Check(clipped_share=0.01), Normalise(divide=32768.0))
"""Silence and clipped sound are refused: bad input is an error, never "easy"."""
COARSE = LogMel(rate_hz=RATE, frame=512, hop=500, bands=10, low_hz=100, floor=1e-6)
HIDDEN = 32
PACES = (0.8, 0.9, 1.0, 1.12, 1.25)
NEAR_PACES = slice(1, 4)
OWN_SHARE = 0.5
"""Of the network's sums, beside the listener's."""
STEPS = 600
UNTIL_CALIBRATED = 0.9
CARE = Care(most=1000.0, step=0.5)
"""In doubt, ask about all but the surest, and soon: a small network is sure of itself with strangers, too."""


def heard(sounds: list[Array], feature: LogMel) -> Array:
    parts = [np.stack([placed(sound) for sound in sounds[at : at + 100]]) for at in range(0, len(sounds), 100)]
    return np.concatenate([apply_features(part, (FIRST[1], feature)) for part in parts]).astype(np.float32)


def small(clips: Clips, labels: int) -> tuple[bytes, int]:
    """The device's model, and its multiply-adds. Trained on the clips as they are."""
    fed = heard(clips.sounds, COARSE).reshape(len(clips.sounds), -1)
    mean, deviation = fed.mean(0), fed.std(0) + 1e-2
    network = MLPClassifier((HIDDEN,), alpha=0.1, max_iter=200, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit((fed - mean) / deviation, clips.label)
    if list(network.classes_) != list(range(labels)):
        raise SystemExit(f"clips of {len(network.classes_)} digits to train on, expected all {labels}")
    (first, last), (bias, last_bias) = network.coefs_, network.intercepts_
    first, graph = first / deviation[:, None], Graph()
    hidden = graph.add("Relu", graph.add("Gemm", FED, graph.weight(first), graph.weight(bias - mean @ first)))
    scores = graph.add("Softmax", graph.add("Gemm", hidden, graph.weight(last), graph.weight(last_bias)))
    return graph.finished(scores, "scores", (fed.shape[1],), labels), first.size + last.size


def taught(clips: Clips, labels: int, steps: int, layers: list[Layer] | None) -> tuple[Network, Listener | None]:
    spectra = [heard([spoken_faster(sound, pace) for sound in clips.sounds], EARS) for pace in PACES]
    network = Network(*EARS.after((RATE,)), labels)
    network.train(Variations(spectra, clips.label), steps)
    if layers is None:
        return network, None
    listener = Listener(layers, labels)
    listener.learn(spectra[NEAR_PACES], clips.label)
    return network, listener


def joined(network: Network, listener: Listener | None, own_share: float = OWN_SHARE) -> tuple[bytes, int]:
    """Both as one model, and its multiply-adds. Sums are added: their probabilities are multiplied."""
    graph, multiply_adds = Graph(), network.multiply_adds
    sums = network.sums(graph)
    if listener is not None:
        multiply_adds += listener.multiply_adds
        sums = graph.add("Add", graph.add("Mul", sums, graph.weight(own_share)), listener.sums(graph))
    scores = graph.add("Softmax", sums)
    return graph.finished(scores, "scores", (network.frames, network.bands), network.labels), multiply_adds


def stage(name: str, features: tuple[Feature, ...], made: tuple[bytes, int], labels: int, **more: Any) -> StageSpec:
    model, multiply_adds = made
    return StageSpec(
        name=name,
        file="model.onnx",
        format="onnx",
        inputs=(InputSpec(tensor="sound", shape=(RATE,), dtype="int16", features=features),),
        output=OutputSpec(kind="classes"),
        labels=tuple(str(digit) for digit in range(labels)),
        costs=Costs(multiply_adds=multiply_adds, bytes_moved=len(model)),
        **more,
    )


def write(folder: Path, clips: Clips, without: str = "", known_above: bool = False, steps: int = STEPS) -> None:
    parts, labels, layers = split(clips, without, known_above), int(clips.label.max()) + 1, ears()
    below, above = small(parts.edge, labels), joined(*taught(parts.cloud, labels, steps, layers))
    flat = Reshape(shape=(math.prod(COARSE.after((RATE,))),))
    cues = ("mean", "deviation", "roughness")
    stages: dict[Tier, tuple[StageSpec, bytes]] = {
        "edge": (stage("coarse", (*FIRST, COARSE, flat), below, labels, cues=cues), below[0]),
        "cloud": (stage("fine", (*FIRST, EARS), above, labels), above[0]),
    }
    gates, made_from = [], ("FSDD",) if layers is None else ("FSDD", FILE.name)
    for tier, (spec, model) in stages.items():
        manifest = BundleManifest(
            format=1, name=f"spoken-digits-{tier}", task="spoken-digit", tier=tier, stages=(spec,), files={},
            lineage=Lineage(made_by="examples/spoken_digits/train.py", made_from=made_from),
        )  # fmt: skip
        write_bundle(folder / "release" / tier, manifest, {"model.onnx": model})
        gate = GateSpec("confidence", UNTIL_CALIBRATED) if tier == "edge" else GateSpec("always")
        gates.append(StageGate(tier=tier, stage=spec.name, gate=gate))
    write_release(folder / "release", "spoken-digits", "spoken-digit", gates, care=CARE)
    parts.calibrate.save(folder / "calibrate.npz")
    parts.test.save(folder / "test.npz")
    if without:
        parts.stranger.save(folder / "stranger.npz")


def fsdd() -> Path:
    return Path(os.environ["CASCADE_DATA"]) / "fsdd/fsdd_design_4spk.npz"


def ears() -> list[Layer] | None:
    return first_layers(Path(os.environ["CASCADE_DATA"])) if "CASCADE_DATA" in os.environ else None


def warn_if_alone() -> None:
    if ears() is None:
        print(f"no {FILE.name} in CASCADE_DATA, or no ai-edge-litert to read it: the network above is alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="a folder, in which `release` and the clips will lie")
    parser.add_argument("--clips", type=Path, help="a file like FSDD's; absent, the one in CASCADE_DATA")
    parser.add_argument("--without", default="", metavar="SPEAKER", help="who is left out, to come as a stranger")
    parser.add_argument("--known-above", action="store_true", help="but the model above has heard the stranger")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training, above")
    options = parser.parse_args()
    if options.clips is None and "CASCADE_DATA" not in os.environ:
        raise SystemExit("CASCADE_DATA is not set: it names the folder in which fsdd is; or give --clips")
    warn_if_alone()
    write(options.out, read(options.clips or fsdd()), options.without, options.known_above, options.steps)
    print(f"{options.out / 'release'}: written, with the clips to calibrate and to test on beside it")


if __name__ == "__main__":
    main()
