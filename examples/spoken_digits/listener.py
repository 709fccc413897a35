"""A listener: a network that others trained on thousands of voices, as it is, and a layer that learns digits from it.

Nothing of that network itself is trained here: three more voices would only spoil its ears. Two kinds of ears are in
`keyword_ears.py` and `speech_ears.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from graph import Array, Graph
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

DECAY = 30.0
"""Of the weights, for each pace."""
BATCH = 128


class Ears(NamedTuple):
    """What somebody else's network hears in a word."""

    file: Path
    """Below CASCADE_DATA."""
    hear: Callable[[Graph], str]
    """Its nodes: from what the graph is fed with to (batch, numbers)."""
    numbers: int
    multiply_adds: int


class Listener:
    """Sums per label, to be added to those of other networks."""

    def __init__(self, ears: Ears, labels: int) -> None:
        self._ears, graph = ears, Graph()
        model = graph.finished(ears.hear(graph), "heard", ears.numbers)
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._inputs = tuple(graph.inputs)
        self.multiply_adds = ears.multiply_adds + ears.numbers * labels

    def learn(self, words: Sequence[Mapping[str, Array]], label: Array) -> None:
        """`words`: the same ones at several paces, as the graph is fed with them."""
        heard = np.concatenate([self._heard(each) for each in words])
        mean, deviation = heard.mean(0), heard.std(0) + 1e-3
        model = LogisticRegression(C=1.0 / (DECAY * len(words)), max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((heard - mean) / deviation, np.tile(label, len(words)))
        self._weights = (model.coef_ / deviation).T
        self._bias = model.intercept_ - mean @ self._weights

    def sums(self, graph: Graph) -> str:
        return graph.add("Gemm", self._ears.hear(graph), graph.weight(self._weights), graph.weight(self._bias))

    def _heard(self, words: Mapping[str, Array]) -> Array:
        count = len(words[self._inputs[0]])
        parts = [
            self._session.run(None, {name: words[name][at : at + BATCH] for name in self._inputs})[0]
            for at in range(0, count, BATCH)
        ]
        return np.concatenate(parts)
