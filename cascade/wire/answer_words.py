"""An answer as protobuf, and back: outcome, prediction, trail.

NaN in a prediction may travel: it climbs, because a gate decides what can be read. Counts that contradict each other
may not. What answers say again and again is written and checked once, as in questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from google.protobuf.message import DecodeError

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
)  # fmt: skip
from cascade.wire.frames import varint
from cascade.wire.limits import USUAL, Limits, check_amount, check_given, check_name, check_text
from cascade.wire.topics import check_device_name
from cascade.wire.v1 import cascade_pb2 as pb

_TRAIL_TAG = bytes((0xA2, 0x01))
_OUTCOMES = {
    Outcome.ANSWERED: pb.OUTCOME_ANSWERED, Outcome.DROPPED: pb.OUTCOME_DROPPED,
    Outcome.EXPIRED: pb.OUTCOME_EXPIRED, Outcome.REFUSED: pb.OUTCOME_REFUSED,
}  # fmt: skip
_VERDICTS = {
    Verdict.ANSWER: pb.VERDICT_ANSWER, Verdict.CLIMB: pb.VERDICT_CLIMB, Verdict.DROP: pb.VERDICT_DROP,
}  # fmt: skip
_ENERGIES = {
    Energy.UNKNOWN: pb.ENERGY_UNSPECIFIED, Energy.MEASURED: pb.ENERGY_MEASURED,
    Energy.APPORTIONED: pb.ENERGY_APPORTIONED, Energy.ESTIMATED: pb.ENERGY_ESTIMATED,
}  # fmt: skip
_READ_OUTCOMES: dict[int, Outcome] = {number: word for word, number in _OUTCOMES.items()}
_READ_VERDICTS: dict[int, Verdict] = {number: word for word, number in _VERDICTS.items()}
_READ_ENERGIES: dict[int, Energy] = {number: word for word, number in _ENERGIES.items()}


def write_answer(answer: Answer) -> bytes:
    """One answer's bytes, without the message around it."""
    written = pb.Answer(id=answer.id, digest=answer.digest, sequence=answer.sequence, retry_ms=answer.retry_ms)
    if answer.prediction is not None:
        _write_prediction(written, answer.prediction)
    parts = [
        _written_again_and_again(
            answer.device, answer.stream, answer.task, answer.release, answer.outcome, answer.reason, answer.label,
            answer.tier, answer.provisional, answer.correction, answer.repeated,
        ),
        written.SerializeToString(),
    ]  # fmt: skip
    for step in answer.trail:
        _write_step(parts, step)
    return b"".join(parts)


def read_answer(data: bytes, limits: Limits) -> Answer:
    try:
        return _checked(pb.Answer.FromString(data), limits)
    except DecodeError as error:
        raise PeerError("unparseable", f"an answer: {error}") from None


@lru_cache(maxsize=4096)
def _written_again_and_again(
    device: str, stream: str, task: str, release: str, outcome: Outcome, reason: str, label: str, tier: str,
    provisional: bool, correction: bool, repeated: bool,
) -> bytes:  # fmt: skip
    return pb.Answer(
        device=device, stream=stream, task=task, release=release, outcome=_OUTCOMES[outcome], reason=_plain(reason),
        label=label, tier=tier, provisional=provisional, correction=correction, handed_over_before=repeated,
    ).SerializeToString()  # fmt: skip


def _plain(text: str) -> str:
    """A reason may come from a library's error; an answer must not be lost over a line break in it."""
    return "".join(letter if letter.isprintable() else " " for letter in text[: USUAL.max_text])


def _write_step(parts: list[bytes], step: Step) -> None:
    known = _written_place(
        step.node, step.tier, step.stage, step.model, step.verdict, step.reason, step.threshold, step.energy
    )
    measured = pb.Step(
        confidence=step.confidence, ms=step.ms, joules=step.joules, bytes_up=step.bytes_up, sent=step.sent,
        guess=step.guess,
    ).SerializeToString()  # fmt: skip
    parts += (_TRAIL_TAG, varint(len(known) + len(measured)), known, measured)


@lru_cache(maxsize=4096)
def _written_place(
    node: str, tier: str, stage: str, model: str, verdict: Verdict, reason: str, threshold: float | None, energy: Energy
) -> bytes:
    return pb.Step(
        node=node, tier=tier, stage=stage, model=model, verdict=_VERDICTS[verdict], reason=_plain(reason),
        threshold=threshold, energy=_ENERGIES[energy],
    ).SerializeToString()  # fmt: skip


def _write_prediction(into: pb.Answer, prediction: Prediction) -> None:
    if isinstance(prediction, ClassScores):
        into.classes.SetInParent()
        into.classes.scores.extend(prediction.scores)
    elif isinstance(prediction, Estimate):
        into.estimate.SetInParent()
        into.estimate.values.extend(prediction.values)
        into.estimate.spreads.extend(prediction.spreads)
    elif isinstance(prediction, AnomalyScore):
        into.anomaly.CopyFrom(pb.AnomalyScore(score=prediction.score, limit=prediction.limit))
    else:
        into.detections.nothing = prediction.nothing
        into.detections.SetInParent()
        for found in prediction.found:
            into.detections.found.add(label=found.label, score=found.score, box=found.box)


def _checked(read: pb.Answer, limits: Limits) -> Answer:
    outcome, digest, trail = _READ_OUTCOMES.get(read.outcome), read.digest, read.trail
    device, stream, task, release, tier = read.device, read.stream, read.task, read.release, read.tier
    reason, label = read.reason, read.label
    if outcome is None:
        raise PeerError("word", f"outcome {read.outcome}")
    if len(digest) > limits.max_digest_bytes:
        raise PeerError("size", f"digest: {len(digest)} bytes")
    if len(trail) > limits.max_steps:
        raise PeerError("count", f"{len(trail)} steps, at most {limits.max_steps} are taken")
    _check_names(device, stream, task, release, tier, reason, label, limits.max_text)
    return Answer(
        id=check_given("id", read.id, limits.max_text),
        device=device,
        digest=digest,
        stream=stream,
        sequence=read.sequence,
        task=task,
        release=release,
        outcome=outcome,
        reason=reason,
        prediction=_prediction(read, limits),
        label=label,
        tier=tier,
        provisional=read.provisional,
        correction=read.correction,
        repeated=read.handed_over_before,
        retry_ms=check_amount("retry_ms", read.retry_ms) if read.HasField("retry_ms") else None,
        trail=tuple([_step(step, limits.max_text) for step in trail[:]]),
    )


@lru_cache(maxsize=4096)
def _check_names(
    device: str, stream: str, task: str, release: str, tier: str, reason: str, label: str, max_text: int
) -> None:
    check_device_name(device)
    check_name("stream", stream, max_text)
    check_name("task", task, max_text)
    check_name("release", release, max_text)
    check_name("tier", tier, max_text)
    check_text("reason", reason, max_text)
    check_text("label", label, max_text)


def _step(read: pb.Step, max_text: int) -> Step:
    verdict, energy, ms, joules = (
        _READ_VERDICTS.get(read.verdict),
        _READ_ENERGIES.get(read.energy),
        read.ms,
        read.joules,
    )
    node, tier, stage, model, reason = read.node, read.tier, read.stage, read.model, read.reason
    if verdict is None or energy is None:
        raise PeerError("word", f"verdict {read.verdict}, energy {read.energy}")
    if not (0.0 <= ms < math.inf and 0.0 <= joules < math.inf):
        raise PeerError("number", f"ms {ms!r}, joules {joules!r}")
    _check_place(node, tier, stage, model, reason, max_text)
    return Step(
        node=node,
        tier=tier,
        stage=stage,
        model=model,
        verdict=verdict,
        reason=reason,
        confidence=_figure("confidence", read.confidence) if read.HasField("confidence") else None,
        threshold=_figure("threshold", read.threshold) if read.HasField("threshold") else None,
        ms=ms,
        joules=joules,
        energy=energy,
        bytes_up=read.bytes_up,
        sent=check_text("sent", read.sent, max_text) if read.sent else "",
        guess=check_text("guess", read.guess, max_text) if read.guess else "",
    )


@lru_cache(maxsize=4096)
def _check_place(node: str, tier: str, stage: str, model: str, reason: str, max_text: int) -> None:
    check_name("node", node, max_text)
    check_name("tier", tier, max_text)
    check_name("stage", stage, max_text)
    check_name("model", model, max_text)
    check_text("reason", reason, max_text)


def _figure(what: str, number: float) -> float:
    """A number of a decision. It can be infinite (a threshold that nothing reaches), but not NaN."""
    if math.isnan(number):
        raise PeerError("number", f"{what}: {number!r}")
    return number


def _prediction(read: pb.Answer, limits: Limits) -> Prediction | None:
    kind = read.WhichOneof("prediction")
    if kind is None:
        return None
    if kind == "classes":
        return ClassScores(_numbers(read.classes.scores, limits))
    if kind == "estimate":
        return _estimate(read.estimate, limits)
    if kind == "anomaly":
        return AnomalyScore(read.anomaly.score, read.anomaly.limit)
    return _detections(read.detections, limits)


def _numbers(read: Sequence[float], limits: Limits) -> tuple[float, ...]:
    if len(read) > limits.max_values:
        raise PeerError("count", f"{len(read)} values, at most {limits.max_values} are taken")
    return tuple(read[:])


def _estimate(read: pb.Estimate, limits: Limits) -> Estimate:
    if len(read.values) != len(read.spreads):
        raise PeerError("count", f"{len(read.values)} values, {len(read.spreads)} spreads")
    return Estimate(_numbers(read.values, limits), _numbers(read.spreads, limits))


def _detections(read: pb.Detections, limits: Limits) -> Detections:
    if len(read.found) > limits.max_values:
        raise PeerError("count", f"{len(read.found)} things found, at most {limits.max_values} are taken")
    return Detections(tuple([_detection(found) for found in read.found]), read.nothing)


def _detection(read: pb.Detection) -> Detection:
    if len(read.box) != 4:
        raise PeerError("count", f"a box of {len(read.box)} numbers")
    left, top, right, bottom = read.box
    return Detection(read.label, read.score, (left, top, right, bottom))
