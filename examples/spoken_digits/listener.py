"""A listener that has heard thousands of people: the keyword network of MLPerf Tiny, and a layer that learns digits.

It was trained on Speech Commands, where digits are "another word" and all one. So what it has learned for its own words
in its last layers is left out, and a regression is fed with what it hears before them: means and maxima over time.
Nothing of the listener itself is trained here: three more voices would only spoil its ears.

Its cepstral coefficients are made in the graph, of the spectra that the network of `convolution.py` is fed with, too.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from graph import FED, Array, Graph
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cascade.release.spectra import LogMel

sys.path.append(str(Path(__file__).resolve().parent.parent / "keywords"))
from ds_cnn import COEFFICIENTS, FRAMES, Layer, multiply_adds, read_layers

FILE = Path("mlperf-tiny/models/kws_ref_model_float32.tflite")
EARS = LogMel(
    rate_hz=8000, frame=240, hop=160, fft=256, bands=40, low_hz=20, high_hz=4000,
    amplitude="magnitude", slopes_in="mel", add=1e-6, floor=1e-6,
)  # fmt: skip
"""As it was trained: 30 ms each 20 ms, 40 bands up to 4 kHz. At half its rate the same bins are half as many."""
KEPT_LAYERS = 7
"""Of nine convolutions: the first, and three pairs."""
LOUDEST, QUIETEST_NATS, ROOM_KEPT = 4.0, 7.0, 0.5
"""How loud the loudest place is made; how far below it lies a floor of noise, because the listener knows no silence
but that of rooms; and how much is left of what a microphone does to a whole clip."""
DECAY = 30.0
"""Of the weights, for each pace."""


def first_layers(data: Path) -> list[Layer] | None:
    """Of the listener; None where its file, or what reads it, is not there."""
    if not (data / FILE).exists():
        return None
    try:
        return read_layers(data / FILE)[:KEPT_LAYERS]
    except ImportError:
        return None


class Listener:
    """Sums per label, to be added to those of another network."""

    def __init__(self, layers: list[Layer], labels: int) -> None:
        self._layers = layers
        graph = Graph()
        self._numbers = 2 * len(layers[-1].weights) * -(-COEFFICIENTS // layers[0].stride)
        model = graph.finished(self._hear(graph), "heard", (FRAMES, EARS.bands), self._numbers)
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.multiply_adds = FRAMES * EARS.bands * COEFFICIENTS + multiply_adds(layers) + self._numbers * labels

    def learn(self, spectra: list[Array], label: Array) -> None:
        """Of the same words at several paces."""
        heard = np.concatenate([self._heard(each) for each in spectra])
        mean, deviation = heard.mean(0), heard.std(0) + 1e-3
        model = LogisticRegression(C=1.0 / (DECAY * len(spectra)), max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((heard - mean) / deviation, np.tile(label, len(spectra)))
        self._weights = (model.coef_ / deviation).T
        self._bias = model.intercept_ - mean @ self._weights

    def sums(self, graph: Graph) -> str:
        return graph.add("Gemm", self._hear(graph), graph.weight(self._weights), graph.weight(self._bias))

    def _heard(self, spectra: Array) -> Array:
        parts = np.array_split(spectra, max(1, len(spectra) // 128))
        return np.concatenate([self._session.run(None, {FED: part})[0] for part in parts])

    def _hear(self, graph: Graph) -> str:
        last = graph.add("Reshape", coefficients(graph), graph.weight([-1, 1, FRAMES, COEFFICIENTS]))
        for layer in self._layers:
            groups = len(layer.weights) if layer.by_channel else 1
            fixed = {"strides": [layer.stride] * 2, "auto_pad": "SAME_UPPER", "group": groups}
            last = graph.add("Conv", last, graph.weight(layer.weights), graph.weight(layer.bias), **fixed)
            last = graph.add("Relu", last)
        over_time = [graph.add(kind, last, axes=[2], keepdims=0) for kind in ("ReduceMean", "ReduceMax")]
        return graph.add("Concat", *(graph.add("Flatten", each) for each in over_time), axis=1)


def coefficients(graph: Graph) -> str:
    """Cepstral ones (batch, frames, 10), as `tf.signal.mfccs_from_log_mel_spectrograms`: what the listener is fed."""
    order, band = np.arange(COEFFICIENTS), np.arange(EARS.bands)[:, None]
    cosines = np.cos(np.pi * order * (band + 0.5) / EARS.bands) * np.sqrt(2.0 / EARS.bands)
    return graph.add("MatMul", _levelled(graph), graph.weight(cosines))


def _levelled(graph: Graph) -> str:
    """Each clip as loud as the next, over a floor of noise, and half of its mean spectrum taken away."""
    level = graph.add("Sub", FED, graph.add("ReduceMax", FED, axes=[1, 2], keepdims=1))
    over = graph.add("Add", graph.add("Exp", level), graph.weight(np.exp(-QUIETEST_NATS)))
    noisy = graph.add("Log", over)
    each = graph.add("ReduceMean", noisy, axes=[1], keepdims=1)
    all_of_it = graph.add("ReduceMean", noisy, axes=[1, 2], keepdims=1)
    colour = graph.add("Mul", graph.add("Sub", each, all_of_it), graph.weight(1.0 - ROOM_KEPT))
    return graph.add("Add", graph.add("Sub", noisy, colour), graph.weight(LOUDEST))
