"""Trains the two models of this example on spoken digits and writes them as a release.

    CASCADE_DATA=… python examples/spoken_digits/train.py [--without george] [--out examples/spoken_digits]

The device has 15 coarse spectra of a second and 5,162 weights; the model above finer spectra, convolutions, and words
that were made faster, slower, duller, noisier. Beside `release` lie the clips that nothing here has looked at:
`calibrate.npz`, `test.npz`, and with --without `stranger.npz`.
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
from convolution import BATCH, Network, evened, model_bytes
from onnx import helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

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
FINE = LogMel(rate_hz=RATE, frame=256, hop=128, bands=32, low_hz=60, floor=1e-8)
HIDDEN = 32
PACES = (0.8, 0.9, 1.0, 1.12, 1.25)
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
    first = first / deviation[:, None]
    weights = {"w0": first, "b0": bias - mean @ first, "w1": last, "b1": last_bias}
    nodes = [
        helper.make_node("Gemm", ["spectrum", "w0", "b0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        helper.make_node("Gemm", ["h1", "w1", "b1"], ["h2"]),
        helper.make_node("Softmax", ["h2"], ["scores"]),
    ]
    stored = [numpy_helper.from_array(each.astype(np.float32), name) for name, each in weights.items()]
    return model_bytes(nodes, stored, (fed.shape[1],), labels), first.size + last.size


class Variations:
    """Each batch anew: other paces, places in time, throats, microphones and rooms."""

    def __init__(self, clips: Clips, seed: int = 1) -> None:
        self._label = clips.label
        self._spectra = [heard([spoken_faster(sound, pace) for sound in clips.sounds], FINE) for pace in PACES]
        self._dice = np.random.default_rng(seed)

    def __call__(self) -> tuple[Array, Array]:
        rows = self._dice.integers(len(self._label), size=BATCH)
        paces = self._dice.integers(len(PACES), size=BATCH)
        spectra = np.stack([self._moved(self._spectra[pace][row]) for pace, row in zip(paces, rows, strict=True)])
        return self._masked(evened(self._in_a_room(spectra))), self._label[rows]

    def _moved(self, spectrum: Array) -> Array:
        """In time by up to 8 frames, and its bands along the axis: a longer or shorter throat."""
        frames, bands = spectrum.shape
        at = np.arange(frames) - int(self._dice.integers(-8, 9))
        moved = np.where(((at >= 0) & (at < frames))[:, None], spectrum[np.clip(at, 0, frames - 1)], spectrum.min())
        from_band = np.arange(bands) * self._dice.uniform(0.85, 1.18) + self._dice.uniform(-1, 1)
        from_band = np.clip(from_band, 0, bands - 1)
        low = np.minimum(from_band.astype(int), bands - 2)
        share = (from_band - low).astype(np.float32)
        return np.asarray(moved[:, low] * (1 - share) + moved[:, low + 1] * share)

    def _in_a_room(self, spectra: Array) -> Array:
        """Through another microphone, which colours it, and over noise."""
        count, _, bands = spectra.shape
        knots, at = self._dice.normal(size=(count, 5)) * 1.5, np.linspace(0, 4, bands)
        colour = np.stack([np.interp(at, range(5), each) for each in knots])
        coloured = spectra + colour[:, None].astype(np.float32)
        quieter = self._dice.uniform(3, 12, (count, 1, 1))
        noise = coloured.max((1, 2), keepdims=True) - quieter
        noise = noise + self._dice.normal(size=(count, 1, bands)) + 0.7 * self._dice.normal(size=spectra.shape)
        noisy = self._dice.random((count, 1, 1)) < 0.7
        return np.where(noisy, np.logaddexp(coloured, noise), coloured)

    def _masked(self, fed: Array) -> Array:
        """Some frames and some bands are missing, so that no one place is trusted alone."""
        for each in fed:
            for axis, most in ((0, 8), (1, 6)):
                begin = int(self._dice.integers(0, each.shape[axis] - most))
                gone = slice(begin, begin + int(self._dice.integers(0, most)))
                each[gone if axis == 0 else slice(None), gone if axis == 1 else slice(None)] = 0.0
        return fed


def large(clips: Clips, labels: int, steps: int) -> tuple[bytes, int]:
    """The model above, and its multiply-adds."""
    frames, bands = FINE.after((RATE,))
    network = Network(frames, bands, labels)
    network.train(Variations(clips), steps)
    return network.as_onnx(), network.multiply_adds


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
    parts, labels = split(clips, without, known_above), int(clips.label.max()) + 1
    below, above = small(parts.edge, labels), large(parts.cloud, labels, steps)
    flat = Reshape(shape=(math.prod(COARSE.after((RATE,))),))
    cues = ("mean", "deviation", "roughness")
    stages: dict[Tier, tuple[StageSpec, bytes]] = {
        "edge": (stage("coarse", (*FIRST, COARSE, flat), below, labels, cues=cues), below[0]),
        "cloud": (stage("fine", (*FIRST, FINE), above, labels), above[0]),
    }
    gates = []
    for tier, (spec, model) in stages.items():
        manifest = BundleManifest(
            format=1, name=f"spoken-digits-{tier}", task="spoken-digit", tier=tier, stages=(spec,), files={},
            lineage=Lineage(made_by="examples/spoken_digits/train.py", made_from=("FSDD",)),
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
    write(options.out, read(options.clips or fsdd()), options.without, options.known_above, options.steps)
    print(f"{options.out / 'release'}: written, with the clips to calibrate and to test on beside it")


if __name__ == "__main__":
    main()
