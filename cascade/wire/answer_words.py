"""An answer as protobuf, and back: outcome, prediction, trail.

NaN in a prediction may travel: it climbs, because a gate decides what can be read. Counts that contradict each other may not.
"""

from __future__ import annotations

import math

from google.protobuf.message import DecodeError

from cascade.errors import PeerError
from cascade.messages import (
    AnomalyScore, Answer, ClassScores, Detection, Detections, Energy, Estimate, Outcome, Prediction, Step, Verdict,
)  # fmt: skip
from cascade.wire.limits import Limits, check_amount, check_given, check_known_name, check_text
from cascade.wire.topics import check_device_name
from cascade.wire.v1 import cascade_pb2 as pb

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
    read = pb.Answer(
        id=answer.id,
        device=answer.device,
        digest=answer.digest,
        stream=answer.stream,
        sequence=answer.sequence,
        task=answer.task,
        release=answer.release,
        outcome=_OUTCOMES[answer.outcome],
        reason=_plain(answer.reason),
        label=answer.label,
        tier=answer.tier,
        provisional=answer.provisional,
        correction=answer.correction,
        handed_over_before=answer.repeated,
        retry_ms=answer.retry_ms,
        trail=[_written_step(step) for step in answer.trail],
    )
    if answer.prediction is not None:
        _write_prediction(read, answer.prediction)
    return read.SerializeToString()


def read_answer(data: bytes, limits: Limits) -> Answer:
    try:
        return _checked(pb.Answer.FromString(data), limits)
    except DecodeError as error:
        raise PeerError("unparseable", f"an answer: {error}") from None


def _plain(text: str) -> str:
    """A reason may come from a library's error; an answer must not be lost over a line break in it."""
    if len(text) <= 256 and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text[:256])


def _written_step(step: Step) -> pb.Step:
    return pb.Step(
        node=step.node,
        tier=step.tier,
        stage=step.stage,
        model=step.model,
        verdict=_VERDICTS[step.verdict],
        reason=_plain(step.reason),
        confidence=step.confidence,
        threshold=step.threshold,
        ms=step.ms,
        joules=step.joules,
        energy=_ENERGIES[step.energy],
        bytes_up=step.bytes_up,
    )


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
    outcome = _READ_OUTCOMES.get(read.outcome)
    if outcome is None:
        raise PeerError("word", f"outcome {read.outcome}")
    if len(read.digest) > limits.max_digest_bytes:
        raise PeerError("size", f"digest: {len(read.digest)} bytes")
    if len(read.trail) > limits.max_steps:
        raise PeerError("count", f"{len(read.trail)} steps, at most {limits.max_steps} are taken")
    return Answer(
        id=check_given("id", read.id, limits),
        device=check_device_name(read.device),
        digest=read.digest,
        stream=check_known_name("stream", read.stream, limits),
        sequence=read.sequence,
        task=check_known_name("task", read.task, limits),
        release=check_known_name("release", read.release, limits),
        outcome=outcome,
        reason=check_text("reason", read.reason, limits),
        prediction=_prediction(read, limits),
        label=check_text("label", read.label, limits),
        tier=check_known_name("tier", read.tier, limits),
        provisional=read.provisional,
        correction=read.correction,
        repeated=read.handed_over_before,
        retry_ms=check_amount("retry_ms", read.retry_ms) if read.HasField("retry_ms") else None,
        trail=tuple([_step(step, limits) for step in read.trail]),
    )


def _step(read: pb.Step, limits: Limits) -> Step:
    verdict, energy = _READ_VERDICTS.get(read.verdict), _READ_ENERGIES.get(read.energy)
    if verdict is None or energy is None:
        raise PeerError("word", f"verdict {read.verdict}, energy {read.energy}")
    return Step(
        node=check_known_name("node", read.node, limits),
        tier=check_known_name("tier", read.tier, limits),
        stage=check_known_name("stage", read.stage, limits),
        model=check_known_name("model", read.model, limits),
        verdict=verdict,
        reason=check_text("reason", read.reason, limits),
        confidence=_figure("confidence", read.confidence) if read.HasField("confidence") else None,
        threshold=_figure("threshold", read.threshold) if read.HasField("threshold") else None,
        ms=check_amount("ms", read.ms),
        joules=check_amount("joules", read.joules),
        energy=energy,
        bytes_up=read.bytes_up,
    )


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


def _numbers(read: object, limits: Limits) -> tuple[float, ...]:
    if len(read) > limits.max_values:  # type: ignore[arg-type]
        raise PeerError("count", f"more than {limits.max_values} values")
    return tuple(read)  # type: ignore[arg-type]


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
