"""An answer as JSON, for programs that know nothing of this project: standard output, the ask socket, topics.

Promised: fields are added, never renamed. What does not apply is left out; a number that is not finite is null.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from cascade.messages import AnomalyScore, Answer, ClassScores, Detections, Estimate, Prediction, Step


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """Plain dictionaries, lists, text and numbers: any JSON writer takes them."""
    said: dict[str, Any] = {
        "id": answer.id,
        "device": answer.device,
        "stream": answer.stream,
        "sequence": answer.sequence,
        "task": answer.task,
        "release": answer.release,
        "outcome": answer.outcome.value,
        "reason": answer.reason,
        "provisional": answer.provisional,
        "correction": answer.correction,
        "repeated": answer.repeated,
    }
    if answer.prediction is not None:
        said |= {"label": answer.label, "tier": answer.tier, "prediction": _prediction(answer.prediction)}
    if answer.retry_ms is not None:
        said["retry_ms"] = _number(answer.retry_ms)
    said["trail"] = [_step(step) for step in answer.trail]
    return said


def answer_line(answer: Answer) -> bytes:
    """One line of JSON with its end."""
    return msgspec.json.encode(answer_as_json(answer)) + b"\n"


def _prediction(prediction: Prediction) -> dict[str, Any]:
    match prediction:
        case ClassScores():
            best = prediction.best if prediction.scores else None
            return {"kind": "classes", "best": best, "scores": _numbers(prediction.scores)}
        case Estimate():
            return {
                "kind": "estimate",
                "values": _numbers(prediction.values),
                "spreads": _numbers(prediction.spreads),
            }
        case AnomalyScore():
            return {
                "kind": "anomaly",
                "score": _number(prediction.score),
                "limit": _number(prediction.limit),
                "anomalous": prediction.anomalous,
            }
        case Detections():
            found = [
                {"class": one.label, "score": _number(one.score), "box": _numbers(one.box)} for one in prediction.found
            ]
            return {"kind": "detections", "found": found, "nothing": _number(prediction.nothing)}


def _step(step: Step) -> dict[str, Any]:
    said: dict[str, Any] = {
        "node": step.node,
        "tier": step.tier,
        "stage": step.stage,
        "model": step.model,
        "verdict": step.verdict.value,
        "reason": step.reason,
        "ms": _number(step.ms),
        "joules": _number(step.joules),
        "energy": step.energy.value,
        "bytes_up": step.bytes_up,
    }
    if step.guess:
        said["guess"] = step.guess
    if step.sent:
        said["sent"] = step.sent
    if step.confidence is not None:
        said["confidence"] = _number(step.confidence)
    if step.threshold is not None:
        said["threshold"] = _number(step.threshold)
    return said


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(values: tuple[float, ...]) -> list[float | None]:
    return [_number(value) for value in values]
