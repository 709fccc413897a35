"""The ears of MLPerf Tiny's keyword network, that was trained on Speech Commands: thousands of people, single words.

To it digits are "another word" and all one. So what it has learned for its own words in its last layers is left out:
told are means and maxima over time of what it hears before them.

Its cepstral coefficients are made in the graph, of the spectra that the network of `convolution.py` is fed with, too.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
from graph import SPECTRUM, Graph
from listener import Ears

from cascade.release.spectra import LogMel

sys.path.append(str(Path(__file__).resolve().parent.parent / "keywords"))
from ds_cnn import COEFFICIENTS, FRAMES, Layer, multiply_adds, read_layers

FILE = Path("mlperf-tiny/models/kws_ref_model_float32.tflite")
FINE = LogMel(
    rate_hz=8000, frame=240, hop=160, fft=256, bands=40, low_hz=20, high_hz=4000,
    amplitude="magnitude", slopes_in="mel", add=1e-6, floor=1e-6,
)  # fmt: skip
"""As it was trained: 30 ms each 20 ms, 40 bands up to 4 kHz. At half its rate the same bins are half as many."""
KEPT_LAYERS = 7
"""Of nine convolutions: the first, and three pairs."""
LOUDEST, QUIETEST_NATS, ROOM_KEPT = 4.0, 7.0, 0.5
"""How loud the loudest place is made; how far below it lies a floor of noise, because the network knows no silence
but that of rooms; and how much is left of what a microphone does to a whole clip."""


def keyword_ears(data: Path) -> Ears | None:
    """None where the file, or what reads it, is not there."""
    if not (data / FILE).exists():
        return None
    try:
        layers = read_layers(data / FILE)[:KEPT_LAYERS]
    except ImportError:
        return None
    numbers = 2 * len(layers[-1].weights) * -(-COEFFICIENTS // layers[0].stride)
    return Ears(FILE, partial(_hear, layers), numbers, FRAMES * FINE.bands * COEFFICIENTS + multiply_adds(layers))


def _hear(layers: list[Layer], graph: Graph) -> str:
    last = graph.add("Reshape", coefficients(graph), graph.weight([-1, 1, FRAMES, COEFFICIENTS]))
    for layer in layers:
        groups = len(layer.weights) if layer.by_channel else 1
        fixed = {"strides": [layer.stride] * 2, "auto_pad": "SAME_UPPER", "group": groups}
        last = graph.add("Conv", last, graph.weight(layer.weights), graph.weight(layer.bias), **fixed)
        last = graph.add("Relu", last)
    over_time = [graph.add(kind, last, axes=[2], keepdims=0) for kind in ("ReduceMean", "ReduceMax")]
    return graph.add("Concat", *(graph.add("Flatten", each) for each in over_time), axis=1)


def coefficients(graph: Graph) -> str:
    """Cepstral ones (batch, frames, 10), as `tf.signal.mfccs_from_log_mel_spectrograms`: what the network is fed."""
    order, band = np.arange(COEFFICIENTS), np.arange(FINE.bands)[:, None]
    cosines = np.cos(np.pi * order * (band + 0.5) / FINE.bands) * np.sqrt(2.0 / FINE.bands)
    return graph.add("MatMul", _levelled(graph), graph.weight(cosines))


def _levelled(graph: Graph) -> str:
    """Each clip as loud as the next, over a floor of noise, and half of its mean spectrum taken away."""
    spectrum = graph.fed(SPECTRUM, (FRAMES, FINE.bands))
    level = graph.add("Sub", spectrum, graph.add("ReduceMax", spectrum, axes=[1, 2], keepdims=1))
    over = graph.add("Add", graph.add("Exp", level), graph.weight(np.exp(-QUIETEST_NATS)))
    noisy = graph.add("Log", over)
    each = graph.add("ReduceMean", noisy, axes=[1], keepdims=1)
    all_of_it = graph.add("ReduceMean", noisy, axes=[1, 2], keepdims=1)
    colour = graph.add("Mul", graph.add("Sub", each, all_of_it), graph.weight(1.0 - ROOM_KEPT))
    return graph.add("Add", graph.add("Sub", noisy, colour), graph.weight(LOUDEST))
