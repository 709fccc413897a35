"""A small convolutional network in numpy: trained here, run as ONNX. For data of some thousand clips that is enough.

Inputs are log-mel spectra (batch, frames, bands, 1). Three convolutions with ramps, mean and maximum over time, one
layer. Trained by Adam with a rate that falls to nothing, decay of weights, dropout, and slightly unsure labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from graph import SPECTRUM, Array, Graph

BATCH = 64
LEARNING, DECAY, DROPPED, UNSURE = 2e-3, 1e-3, 0.3, 0.05
RANGE_NATS = 4.0
"""What is quieter than the loudest place by more than this counts as silence: about 35 dB."""


class Size(NamedTuple):
    """Of one convolution."""

    high: int
    wide: int
    channels: int
    stride: tuple[int, int]


SIZES = (Size(5, 5, 16, (2, 2)), Size(3, 3, 32, (2, 2)), Size(3, 3, 64, (1, 2)))


def evened(spectra: Array) -> Array:
    """However loud, and whatever the microphone does to its bands. `sums` does the same in the graph."""
    loudest = spectra.max((1, 2), keepdims=True)
    shares = np.maximum(spectra - loudest, -RANGE_NATS) / RANGE_NATS + 1.0
    return ((shares - shares.mean(1, keepdims=True)) * 2.0)[..., None].astype(np.float32)


class Convolution:
    """With its ramp. Remembers what it was given last, for the way back."""

    def __init__(self, size: Size, channels: int, dice: np.random.Generator) -> None:
        fed = size.high * size.wide * channels
        self.size = size
        self.weights = (dice.normal(size=(fed, size.channels)) * np.sqrt(2.0 / fed)).astype(np.float32)
        self.bias = np.zeros(size.channels, np.float32)

    def forward(self, x: Array) -> Array:
        (high, wide, _, (down, across)), (count, rows, columns, channels) = self.size, x.shape
        padded = np.pad(x, ((0, 0), (high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
        out = ((rows - 1) // down + 1, (columns - 1) // across + 1)
        a, b, c, d = padded.strides
        shape, strides = (count, *out, high, wide, channels), (a, b * down, c * across, b, c, d)
        patches = np.lib.stride_tricks.as_strided(padded, shape, strides)
        self._patches, self._fed, self._out = patches.reshape(-1, high * wide * channels), x.shape, out
        self._ramp = np.maximum(self._patches @ self.weights + self.bias, 0.0)
        return self._ramp.reshape(count, *out, -1)

    def backward(self, slope: Array, is_first: bool) -> tuple[Array, list[Array]]:
        """Slopes of what it was given, and of its weights and bias."""
        flat = slope.reshape(self._ramp.shape) * (self._ramp > 0.0)
        own = [self._patches.T @ flat, flat.sum(0)]
        if is_first:
            return flat, own
        (high, wide, _, (down, across)), (count, rows, columns, channels) = self.size, self._fed
        parts = (flat @ self.weights.T).reshape(count, *self._out, high, wide, channels)
        back = np.zeros((count, rows + high - 1, columns + wide - 1, channels), np.float32)
        for i in range(high):
            for j in range(wide):
                across_to, down_to = j + (self._out[1] - 1) * across + 1, i + (self._out[0] - 1) * down + 1
                back[:, i:down_to:down, j:across_to:across] += parts[:, :, :, i, j]
        return back[:, high // 2 : high // 2 + rows, wide // 2 : wide // 2 + columns], own


class Network:
    """Sounds and labels in, probabilities out."""

    def __init__(self, frames: int, bands: int, labels: int, seed: int = 0) -> None:
        self._dice = np.random.default_rng(seed)
        self.frames, self.bands, self.labels = frames, bands, labels
        self.convolutions, channels = list[Convolution](), 1
        for size in SIZES:
            self.convolutions.append(Convolution(size, channels, self._dice))
            channels, bands = size.channels, (bands - 1) // size.stride[1] + 1
        wide = 2 * bands * channels
        self.weights = (self._dice.normal(size=(wide, labels)) / np.sqrt(wide)).astype(np.float32)
        self.bias = np.zeros(labels, np.float32)

    @property
    def parameters(self) -> list[Array]:
        inner = [each for layer in self.convolutions for each in (layer.weights, layer.bias)]
        return [*inner, self.weights, self.bias]

    @property
    def multiply_adds(self) -> int:
        rows, columns, total = self.frames, self.bands, self.weights.size
        for layer in self.convolutions:
            rows, columns = (rows - 1) // layer.size.stride[0] + 1, (columns - 1) // layer.size.stride[1] + 1
            total += rows * columns * layer.weights.size
        return total

    def train(self, batch: Callable[[], tuple[Array, Array]], steps: int) -> None:
        """`batch` gives spectra, evened, and labels, and others each time."""
        moments = [(np.zeros_like(each), np.zeros_like(each)) for each in self.parameters]
        for step in range(steps):
            slopes = self._slopes(*batch())
            rate = LEARNING * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            for each, slope, (first, second) in zip(self.parameters, slopes, moments, strict=True):
                first += 0.1 * (slope - first)
                second += 0.001 * (slope * slope - second)
                grown = np.sqrt(second / (1.0 - 0.999 ** (step + 1))) + 1e-7
                each -= rate * (first / (1.0 - 0.9 ** (step + 1)) / grown + DECAY * each * (each.ndim > 1))

    def _pooled(self, x: Array) -> tuple[Array, Array]:
        for layer in self.convolutions:
            x = layer.forward(x)
        flat = x.reshape(len(x), x.shape[1], -1)
        return flat, np.concatenate([flat.mean(1), flat.max(1)], axis=1)

    def _slopes(self, x: Array, labels: Array) -> list[Array]:
        flat, pooled = self._pooled(x)
        kept = (self._dice.random(pooled.shape) > DROPPED).astype(np.float32) / (1.0 - DROPPED)
        pooled = pooled * kept
        wrong = softmax(pooled @ self.weights + self.bias) - UNSURE / self.labels
        wrong[np.arange(len(x)), labels] -= 1.0 - UNSURE
        wrong /= len(x)
        back, width = (wrong @ self.weights.T) * kept, flat.shape[2]
        slope = np.repeat(back[:, None, :width] / flat.shape[1], flat.shape[1], axis=1)
        highest = flat.argmax(1)[:, None]
        np.put_along_axis(slope, highest, np.take_along_axis(slope, highest, 1) + back[:, None, width:], 1)
        found = [pooled.T @ wrong, wrong.sum(0)]
        for number in reversed(range(len(self.convolutions))):
            slope, own = self.convolutions[number].backward(slope, number == 0)
            found = own + found
        return found

    def scores(self, x: Array) -> Array:
        parts = [self._pooled(part)[1] for part in np.array_split(x, max(1, len(x) // 128))]
        return softmax(np.concatenate(parts) @ self.weights + self.bias)

    def sums(self, graph: Graph) -> str:
        """Of spectra (batch, frames, bands) per label, before they become probabilities; the evening is part of it."""
        spectrum = graph.fed(SPECTRUM, (self.frames, self.bands))
        loudest = graph.add("ReduceMax", spectrum, axes=[1, 2], keepdims=1)
        below = graph.add("Max", graph.add("Sub", spectrum, loudest), graph.weight(-RANGE_NATS))
        centred = graph.add("Sub", below, graph.add("ReduceMean", below, axes=[1], keepdims=1))
        last = graph.add("Mul", centred, graph.weight(2.0 / RANGE_NATS))
        last = graph.add("Reshape", last, graph.weight([-1, 1, self.frames, self.bands]))
        channels = 1
        for layer in self.convolutions:
            high, wide, made, stride = layer.size
            kernel = layer.weights.reshape(high, wide, channels, made).transpose(3, 2, 0, 1)
            fixed = {"strides": list(stride), "pads": [high // 2, wide // 2] * 2}
            last = graph.add("Conv", last, graph.weight(kernel), graph.weight(layer.bias), **fixed)
            last, channels = graph.add("Relu", last), made
        ends = [graph.add(kind, last, axes=[2], keepdims=0) for kind in ("ReduceMean", "ReduceMax")]
        flat = [graph.add("Flatten", graph.add("Transpose", end, perm=[0, 2, 1])) for end in ends]
        return graph.add(
            "Gemm", graph.add("Concat", *flat, axis=1), graph.weight(self.weights), graph.weight(self.bias)
        )


def softmax(sums: Array) -> Array:
    grown = np.exp(sums - sums.max(1, keepdims=True))
    return np.asarray(grown / grown.sum(1, keepdims=True))
