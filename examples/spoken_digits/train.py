"""Trains the two models of this example on spoken digits and writes them as a release.

    CASCADE_DATA=… python examples/spoken_digits/train.py [--without george] [--out examples/spoken_digits]

The device has 15 coarse spectra of a second and 5,162 weights. The model above has finer spectra, a network that learns
from these words made faster, slower, duller, noisier, and beside it two listeners that heard thousands of people before
(`listener.py`). Those that CASCADE_DATA doesn't have are missing. Beside `release` lie the clips that nothing here has
looked at: `calibrate.npz`, `test.npz`, and with --without `stranger.npz`.
"""

from __future__ import annotations

import argparse
import math
import os
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keyword_ears
import numpy as np
import speech_ears
from clips import RATE, Array, Clips, placed, read, split, spoken_faster
from convolution import Network
from graph import SOUND, SPECTRUM, Graph
from keyword_ears import FINE
from listener import Ears, Listener
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
OWN, KEYWORDS, SPEECH = "own network", "keyword ears", "speech ears"
SHARES = {OWN: 0.5, KEYWORDS: 1.0, SPEECH: 0.5}
"""How much each voice counts, of those that are there."""
STEPS = 600
UNTIL_CALIBRATED = 0.9
CARE = Care(most=1000.0, step=0.5)
"""In doubt, ask about all but the surest, and soon: a small network is sure of itself with strangers, too."""


class Voice(Protocol):
    """One of those that the model above is made of."""

    @property
    def multiply_adds(self) -> int: ...

    def sums(self, graph: Graph) -> str:
        """Its nodes: per label, before they become probabilities."""


class Made(NamedTuple):
    model: bytes
    multiply_adds: int
    inputs: Collection[str]


def heard(sounds: list[Array], *features: Feature) -> Array:
    parts = [np.stack([placed(sound) for sound in sounds[at : at + 100]]) for at in range(0, len(sounds), 100)]
    return np.concatenate([apply_features(part, (FIRST[1], *features)) for part in parts]).astype(np.float32)


def small(clips: Clips, labels: int) -> Made:
    """The device's model. Trained on the clips as they are."""
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
    spectrum = graph.fed(SPECTRUM, (fed.shape[1],))
    hidden = graph.add("Relu", graph.add("Gemm", spectrum, graph.weight(first), graph.weight(bias - mean @ first)))
    scores = graph.add("Softmax", graph.add("Gemm", hidden, graph.weight(last), graph.weight(last_bias)))
    return Made(graph.finished(scores, "scores", labels), first.size + last.size, tuple(graph.inputs))


def taught(clips: Clips, labels: int, steps: int, ears: Mapping[str, Ears]) -> dict[str, Voice]:
    paced = [[spoken_faster(sound, pace) for sound in clips.sounds] for pace in PACES]
    spectra = [heard(sounds, FINE) for sounds in paced]
    network = Network(*FINE.after((RATE,)), labels)
    network.train(Variations(spectra, clips.label), steps)
    voices: dict[str, Voice] = {OWN: network}
    words = [{SPECTRUM: spectra[at], SOUND: heard(paced[at])} for at in range(len(PACES))[NEAR_PACES]] if ears else []
    for name, each in ears.items():
        listener = Listener(each, labels)
        listener.learn(words, clips.label)
        voices[name] = listener
    return voices


def joined(voices: Mapping[str, Voice], labels: int, shares: Mapping[str, float] = SHARES) -> Made:
    """All as one model. The mean of their sums is the geometric mean of their probabilities."""
    graph, whole = Graph(), sum(shares[name] for name in voices)
    weighed = [
        graph.add("Mul", voice.sums(graph), graph.weight(shares[name] / whole)) for name, voice in voices.items()
    ]
    scores = graph.add("Softmax", graph.add("Sum", *weighed))
    multiply_adds = sum(voice.multiply_adds for voice in voices.values())
    return Made(graph.finished(scores, "scores", labels), multiply_adds, tuple(graph.inputs))


def stage(name: str, made: Made, spectra: tuple[Feature, ...], labels: int, **more: Any) -> StageSpec:
    """Each of its inputs is made of the one tensor of the question."""
    features: dict[str, tuple[Feature, ...]] = {SPECTRUM: (*FIRST, *spectra), SOUND: (FIRST[1],)}
    return StageSpec(
        name=name,
        file="model.onnx",
        format="onnx",
        inputs=tuple(
            InputSpec(tensor="sound", shape=(RATE,), dtype="int16", model_input=each, features=features[each])
            for each in made.inputs
        ),
        output=OutputSpec(kind="classes"),
        labels=tuple(str(digit) for digit in range(labels)),
        costs=Costs(multiply_adds=made.multiply_adds, bytes_moved=len(made.model)),
        **more,
    )


def write(folder: Path, clips: Clips, without: str = "", known_above: bool = False, steps: int = STEPS) -> None:
    parts, labels, found = split(clips, without, known_above), int(clips.label.max()) + 1, ears()
    below, above = small(parts.edge, labels), joined(taught(parts.cloud, labels, steps, found), labels)
    flat = Reshape(shape=(math.prod(COARSE.after((RATE,))),))
    cues = ("mean", "deviation", "roughness")
    stages: dict[Tier, tuple[StageSpec, bytes]] = {
        "edge": (stage("coarse", below, (COARSE, flat), labels, cues=cues), below.model),
        "cloud": (stage("fine", above, (FINE,), labels), above.model),
    }
    gates, ears_of = [], {"edge": (), "cloud": tuple(each.file.name for each in found.values())}
    for tier, (spec, model) in stages.items():
        manifest = BundleManifest(
            format=1, name=f"spoken-digits-{tier}", task="spoken-digit", tier=tier, stages=(spec,), files={},
            lineage=Lineage(made_by="examples/spoken_digits/train.py", made_from=("FSDD", *ears_of[tier])),
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


def ears() -> dict[str, Ears]:
    """Those whose files CASCADE_DATA has."""
    if "CASCADE_DATA" not in os.environ:
        return {}
    data = Path(os.environ["CASCADE_DATA"])
    there = {KEYWORDS: keyword_ears.keyword_ears(data), SPEECH: speech_ears.speech_ears(data)}
    return {name: each for name, each in there.items() if each is not None}


def warn_of_missing() -> None:
    found = ears()
    for name, file in ((KEYWORDS, keyword_ears.FILE), (SPEECH, speech_ears.FILE)):
        if name not in found:
            print(f"no {name}: CASCADE_DATA has no {file}, or nothing here reads it; the model above is without them")


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
    warn_of_missing()
    write(options.out, read(options.clips or fsdd()), options.without, options.known_above, options.steps)
    print(f"{options.out / 'release'}: written, with the clips to calibrate and to test on beside it")


if __name__ == "__main__":
    main()
