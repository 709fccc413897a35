"""Answers read back from the lines of JSON that `answer_json` writes: to look at them, never to act on them.

The payload's digest is not in those lines, so what is read here is no proof of which input was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from cascade.errors import PeerError
from cascade.messages import (
    AnomalyScore,
    Answer,
    ClassScores,
    Detection,
    Detections,
    Energy,
    Estimate,
    Outcome,
    Prediction,
    Step,
    Verdict,
)

MAX_LINE_BYTES = 4 * 1024 * 1024
NAN = float("nan")


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the trail. A number that was not finite is null."""

    node: str
    tier: str
    stage: str
    model: str
    verdict: Verdict
    reason: str
    confidence: float | None = None
    threshold: float | None = None
    ms: float | None = 0.0
    joules: float | None = 0.0
    energy: Energy = Energy.UNKNOWN
    bytes_up: int = 0
    sent: str = ""
    guess: str = ""


class AnswerLine(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that a later version adds are passed over."""

    id: str
    device: str
    stream: str
    sequence: int
    task: str
    release: str
    outcome: Outcome
    reason: str
    provisional: bool
    correction: bool
    repeated: bool
    label: str = ""
    tier: str = ""
    prediction: dict[str, Any] | None = None
    retry_ms: float | None = None
    trail: tuple[StepLine, ...] = ()


def answers_in(file: BinaryIO, where: str) -> Iterator[Answer]:
    """Line after line. `PeerError` says which line is no answer; one that was not written whole is the end."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if not line.strip():
            continue
        try:
            yield answer_of(line)
        except PeerError as error:
            if not line.endswith(b"\n") and number > 1 and len(line) < MAX_LINE_BYTES:
                return  # Its writer was stopped within the last line, or is writing it now.
            raise PeerError(error.kind, f"{where}, line {number}: {error.detail}") from None


def answer_of(line: bytes) -> Answer:
    """One answer. `PeerError` for what is none."""
    try:
        return _answer(_lines.decode(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError, ValueError) as error:
        raise PeerError("no_answer", f"no answer of an agent: {error}") from None


_lines = msgspec.json.Decoder(AnswerLine)


def _answer(read: AnswerLine) -> Answer:
    return Answer(
        id=read.id,
        device=read.device,
        digest=b"",
        stream=read.stream,
        sequence=read.sequence,
        task=read.task,
        release=read.release,
        outcome=read.outcome,
        reason=read.reason,
        prediction=_prediction(read.prediction) if read.prediction is not None else None,
        label=read.label,
        tier=read.tier,
        provisional=read.provisional,
        correction=read.correction,
        repeated=read.repeated,
        retry_ms=read.retry_ms,
        trail=tuple(_step(step) for step in read.trail),
    )


def _step(read: StepLine) -> Step:
    return Step(
        node=read.node,
        tier=read.tier,
        stage=read.stage,
        model=read.model,
        verdict=read.verdict,
        reason=read.reason,
        confidence=read.confidence,
        threshold=read.threshold,
        ms=_finite(read.ms),
        joules=_finite(read.joules),
        energy=read.energy,
        bytes_up=read.bytes_up,
        sent=read.sent,
        guess=read.guess,
    )


def _finite(value: float | None) -> float:
    return NAN if value is None else value


def _prediction(read: dict[str, Any]) -> Prediction | None:
    """A kind that a later version adds is shown as an answer without a prediction."""
    match read["kind"]:
        case "classes":
            return ClassScores(_numbers(read["scores"]))
        case "estimate":
            return Estimate(_numbers(read["values"]), _numbers(read["spreads"]))
        case "anomaly":
            return AnomalyScore(_finite(read["score"]), _finite(read["limit"]))
        case "detections":
            return Detections(tuple(_detection(one) for one in read["found"]), _finite(read["nothing"]))
    return None


def _detection(read: dict[str, Any]) -> Detection:
    left, top, right, bottom = _numbers(read["box"])
    return Detection(int(read["class"]), _finite(read["score"]), (left, top, right, bottom))


def _numbers(values: list[float | None]) -> tuple[float, ...]:
    return tuple(_finite(value) for value in values)
