"""From a model's numbers to predictions, a batch at a time: activations, shapes, and which number means what.

Numbers that can't be read (NaN, scores above 1) stay as they are: a gate sees them, and the question climbs.
A shape that can't be read is no prediction at all, and the failure of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from cascade.errors import CascadeError
from cascade.inference.calibration import Calibrator
from cascade.messages import AnomalyScore, ClassScores, Detection, Detections, Estimate, Prediction
from cascade.release.bundle import OutputSpec

Array = npt.NDArray[Any]
Outputs = Mapping[str, Array]

MAX_FOUND = 100
"""Things reported of one sample, the surest first. A detector's candidates are many more, most of them noise."""
_HANDFUL = 64
_ROUNDING = 1e-4
"""By so much a softmax computed in float32 or less may exceed 1. More than that is no probability."""

UNREADABLE: Mapping[str, Prediction] = {
    "classes": ClassScores(()),
    "estimate": Estimate((), ()),
    "anomaly": AnomalyScore(float("nan")),
    "detections": Detections((), float("nan")),
}
"""In place of a prediction that a model failed to make of one sample: no gate takes it for a sure one."""


class UnreadableOutput(CascadeError):
    """The model's outputs have another shape than its manifest says."""


def read_outputs(
    outputs: Outputs,
    spec: OutputSpec,
    labels: int,
    samples: int,
    calibrate: Calibrator | None = None,
    cues: Sequence[tuple[float, ...]] | None = None,
) -> list[Prediction]:
    """One prediction per sample. `labels` is how many classes there are names for; 0 if any number goes. Class scores
    are bent by `calibrate`. All carry the `cues` of their inputs."""
    if spec.kind == "classes":
        return _classes(outputs, spec, labels, samples, calibrate, cues)
    found = _READERS[spec.kind](outputs, spec, labels, samples)
    if cues is None:
        return found
    return [msgspec.structs.replace(each, cues=cue) for each, cue in zip(found, cues, strict=True)]


def _classes(
    outputs: Outputs,
    spec: OutputSpec,
    labels: int,
    samples: int,
    calibrate: Calibrator | None,
    cues: Sequence[tuple[float, ...]] | None,
) -> list[Prediction]:
    raw = _rows(_only(outputs, spec.tensor), samples)
    if not raw.shape[1]:
        raise UnreadableOutput("an output with no scores")
    scores = _activated(raw, spec.activation)
    if scores.shape[1] == 1 and labels == 2:
        scores = np.concatenate([1.0 - scores, scores], axis=1)
    if labels and scores.shape[1] != labels:
        raise UnreadableOutput(f"{scores.shape[1]} scores for {labels} labels")
    if spec.activation == "none" and not _largest(scores) <= 1.0:
        scores = np.where((scores > 1.0) & (scores <= 1.0 + _ROUNDING), 1.0, scores)
    if calibrate is not None:
        scores = calibrate(scores)
    if cues is not None:
        return [ClassScores(tuple(row), cue) for row, cue in zip(scores.tolist(), cues, strict=True)]
    return [ClassScores(tuple(row)) for row in scores.tolist()]


def _largest(scores: Array) -> float:
    """A handful of numbers Python looks through before numpy has begun."""
    if scores.size <= _HANDFUL:
        return float(max(map(max, scores.tolist())))
    return float(np.maximum.reduce(scores, axis=None))


def _estimates(outputs: Outputs, spec: OutputSpec, labels: int, samples: int) -> list[Prediction]:
    values = _rows(_named(outputs, spec.tensor) if spec.spread_tensor else _only(outputs, spec.tensor), samples)
    if spec.spread_tensor:
        spreads = _rows(_named(outputs, spec.spread_tensor), samples)
    else:
        half = values.shape[1] // 2
        values, spreads = values[:, :half], values[:, half:]
    if values.shape != spreads.shape or not values.shape[1]:
        raise UnreadableOutput(f"{values.shape[1]} values with {spreads.shape[1]} spreads")
    pairs = zip(values.tolist(), spreads.tolist(), strict=True)
    return [Estimate(tuple(value), tuple(spread)) for value, spread in pairs]


def _anomalies(outputs: Outputs, spec: OutputSpec, labels: int, samples: int) -> list[Prediction]:
    scores = _activated(_rows(_only(outputs, spec.tensor), samples), spec.activation)
    if scores.shape[1] != 1:
        raise UnreadableOutput(f"{scores.shape[1]} numbers for one anomaly score")
    return [AnomalyScore(score, spec.limit) for score in scores[:, 0].tolist()]


def _detections(outputs: Outputs, spec: OutputSpec, labels: int, samples: int) -> list[Prediction]:
    scores = _activated(_rows(_named(outputs, spec.scores_tensor), samples), spec.activation)
    boxes, kinds = _named(outputs, spec.boxes_tensor), _rows(_named(outputs, spec.labels_tensor), samples)
    if boxes.shape != (*scores.shape, 4) or kinds.shape != scores.shape:
        raise UnreadableOutput(
            f"boxes {boxes.shape}, scores {scores.shape} and labels {kinds.shape} don't belong together"
        )
    if spec.box_order == "top left bottom right":
        boxes = boxes[:, :, [1, 0, 3, 2]]
    return [_found(boxes[i], scores[i], kinds[i], spec.limit) for i in range(samples)]


def _found(boxes: Array, scores: Array, kinds: Array, limit: float) -> Detections:
    """What is sure enough; and, whatever that is, how sure the model is that there is nothing at all."""
    order = np.argsort(-scores, kind="stable")[:MAX_FOUND]
    order = order[scores[order] >= limit]
    labels = np.nan_to_num(kinds[order]).astype(np.int64).tolist()
    found = tuple(
        Detection(label, score, (box[0], box[1], box[2], box[3]))
        for label, score, box in zip(labels, scores[order].tolist(), boxes[order].tolist(), strict=True)
    )
    return Detections(found, 1.0 - float(scores.max()) if scores.size else 1.0)


_READERS: Mapping[str, Callable[[Outputs, OutputSpec, int, int], list[Prediction]]] = {
    "estimate": _estimates,
    "anomaly": _anomalies,
    "detections": _detections,
}


def _only(outputs: Outputs, name: str) -> Array:
    if name:
        return _named(outputs, name)
    if len(outputs) != 1:
        raise UnreadableOutput(f"the manifest names no output, and the model has {', '.join(outputs)}")
    return next(iter(outputs.values()))


def _named(outputs: Outputs, name: str) -> Array:
    try:
        return outputs[name]
    except KeyError:
        raise UnreadableOutput(f"no output is called {name!r}; there are {', '.join(outputs)}") from None


def _rows(array: Array, samples: int) -> Array:
    if not array.ndim or array.shape[0] != samples:
        raise UnreadableOutput(f"an output of shape {array.shape} for {samples} samples")
    return array.reshape(samples, -1)


def _activated(scores: Array, activation: str) -> Array:
    if activation == "none":
        return scores
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float32)
    if activation == "sigmoid":
        return np.asarray(1.0 / (1.0 + np.exp(-scores)))
    powers: Array = scores - np.maximum.reduce(scores, axis=1, keepdims=True)
    np.exp(powers, out=powers)
    powers /= np.add.reduce(powers, axis=1, keepdims=True)
    return powers
