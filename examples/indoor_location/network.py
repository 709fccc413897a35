"""A small network and its training, in numpy: layers with ReLU between them, Adam, and two losses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Loss = Callable[[Array, Array], Array]
"""`(outputs, targets)` to the gradient by the outputs, of one batch."""
Batch = Callable[[Array, np.random.Generator], Array]
"""Makes a batch of inputs harder: drops some, weakens others."""

LEAST_LOG_SPREAD, MOST_LOG_SPREAD = -4.0, 3.0


class Network:
    """Weights and biases, from the input to the output."""

    def __init__(self, sizes: tuple[int, ...], seed: int) -> None:
        dice = np.random.default_rng(seed)
        pairs = list(pairwise(sizes))
        self.weights = [dice.normal(0, np.sqrt(2 / a), (a, b)).astype(np.float32) for a, b in pairs]
        self.biases = [np.zeros(size, np.float32) for size in sizes[1:]]

    @property
    def multiply_adds(self) -> int:
        return sum(weight.size for weight in self.weights)

    def __call__(self, inputs: Array) -> Array:
        return self.layers(inputs)[-1]

    def layers(self, inputs: Array) -> list[Array]:
        """The inputs, and what each layer makes of them."""
        outputs = [inputs]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            before = outputs[-1] if len(outputs) == 1 else np.maximum(outputs[-1], 0.0)
            outputs.append(before @ weight + bias)
        return outputs

    def gradients(self, inputs: Array, gradient: Callable[[Array], Array]) -> list[Array]:
        """Of all weights, then of all biases."""
        outputs = self.layers(inputs)
        above = gradient(outputs[-1])
        weights, biases = [], []
        for index in reversed(range(len(self.weights))):
            before = outputs[index] if index == 0 else np.maximum(outputs[index], 0.0)
            weights.append(before.T @ above)
            biases.append(above.sum(0))
            above = (above @ self.weights[index].T) * (outputs[index] > 0)
        return [*reversed(weights), *reversed(biases)]


def trained(
    network: Network,
    inputs: Array,
    targets: Array,
    loss: Loss,
    *,
    epochs: int,
    harder: Batch = lambda batch, dice: batch,
    batch: int = 128,
    rate: float = 2e-3,
    decay: float = 1e-3,
    seed: int = 0,
) -> Network:
    """Adam with weight decay apart from the gradient, its rate falling to nothing in half a cosine."""
    dice = np.random.default_rng(seed)
    places = [*network.weights, *network.biases]
    first, second = ([np.zeros_like(place) for place in places] for _ in range(2))
    steps = epochs * -(-len(inputs) // batch)
    step = 0
    for _ in range(epochs):
        order = dice.permutation(len(inputs))
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            wanted = targets[rows]
            found = network.gradients(harder(inputs[rows], dice), lambda out, wanted=wanted: loss(out, wanted))
            step += 1
            now = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for place, slope, m, v in zip(places, found, first, second, strict=True):
                m += 0.1 * (slope - m)
                v += 0.001 * (slope * slope - v)
                move = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
                place -= now * (move + (decay * place if place.ndim == 2 else 0.0))
    return network


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: Array = powers / powers.sum(1, keepdims=True)
    return shares


def cross_entropy(outputs: Array, targets: Array) -> Array:
    """Targets are shares of classes: those of a teacher, or all of one class."""
    gradient: Array = (softmax(outputs) - targets) / len(outputs)
    return gradient


def normal_likelihood(outputs: Array, targets: Array) -> Array:
    """Outputs are means and, as many, logarithms of spreads. The squares are weighted by the spread, so that what is
    hard doesn't stop learning (β-NLL of Seitzer and others, 2022, with β = 0.5)."""
    half = outputs.shape[1] // 2
    logs = np.clip(outputs[:, half:], LEAST_LOG_SPREAD, MOST_LOG_SPREAD)
    spreads = np.exp(logs)
    off = (outputs[:, :half] - targets) / spreads
    inside = (outputs[:, half:] > LEAST_LOG_SPREAD) & (outputs[:, half:] < MOST_LOG_SPREAD)
    gradient: Array = np.concatenate([off, (1 - off * off) * spreads * inside], 1) / len(outputs)
    return gradient.astype(np.float32)
