"""The words that every tier shares: tensor, question, prediction, decision, step, answer.

All of them are frozen, hashable where their parts are, and made of plain data: a journal can hold them,
a codec can carry them, and two of them are equal when they say the same.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import msgspec

DTYPES: dict[str, int] = {
    "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "float16": 2,
    "uint32": 4, "int32": 4, "float32": 4, "uint64": 8, "int64": 8, "float64": 8,
}  # fmt: skip
"""What a tensor's elements may be, and how many bytes each takes. Little-endian, as on every board we know."""

HIDDEN_DIGEST_BYTES = 16
"""Of the digest of a segment, as questions carry it."""

LOWEST_PRIORITY, HIGHEST_PRIORITY, USUAL_PRIORITY = 0, 9, 5


class Word(msgspec.Struct, frozen=True, gc=False):
    """A message. Never part of a reference cycle, so the garbage collector need not look at it."""


class Tensor(Word, frozen=True, gc=False):
    """Numbers in the form in which they travel: raw little-endian bytes, perhaps compressed."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes
    encoding: str = "raw"

    @property
    def raw_bytes(self) -> int:
        """How many bytes the numbers take when they are not compressed."""
        return math.prod(self.shape) * DTYPES[self.dtype]


Payload: TypeAlias = tuple[Tensor, ...]


class Key(NamedTuple):
    """What tells one question from every other: never the id alone, which a device may use again by mistake."""

    device: str
    id: str
    digest: bytes


class Question(Word, frozen=True, gc=False, kw_only=True):
    """One thing asked of one sample of one stream. It travels as one message, or not at all."""

    id: str
    device: str
    stream: str
    sequence: int
    task: str
    release: str
    payload: Payload
    ms_left: float
    digest: bytes = b""
    stage: str = ""
    priority: int = USUAL_PRIORITY
    age_ms: float = 0.0
    keep_ms: float = 0.0
    """For how long after its deadline the one who asked still wants a late answer, as a correction."""
    audit: bool = False
    """Asked to compare answers, not to get one: the least valuable question there is."""
    hidden: bytes = b""
    """Which segment's hidden features the payload is, by its digest. Empty: it is the input."""

    @property
    def key(self) -> Key:
        return Key(self.device, self.id, self.digest)

    @property
    def payload_bytes(self) -> int:
        return sum(len(tensor.data) for tensor in self.payload)


def payload_digest(payload: Payload) -> bytes:
    """Sixteen bytes that stand for the whole payload, as it travels."""
    digest = blake2b(digest_size=16)
    for tensor in payload:
        digest.update(_head(tensor.name, tensor.dtype, tensor.shape, tensor.encoding))
        data = tensor.data
        if len(data) > LONG_BYTES:
            digest.update(data)
            continue
        for at in range(0, len(data), QUIET_BYTES):
            digest.update(data[at : at + QUIET_BYTES])
    return digest.digest()


QUIET_BYTES, LONG_BYTES = 2047, 16_384
"""hashlib lets other threads run during an update of more than the first, and whoever does waits to run again: worth it
for what takes a while, and for a small sample several times as long as the hashing."""


@lru_cache(maxsize=1024)
def _head(name: str, dtype: str, shape: tuple[int, ...], encoding: str) -> bytes:
    return f"{name}\0{dtype}\0{shape}\0{encoding}\0".encode()


def site_of(device: str) -> str:
    """`barn.cam1` is of the site `barn`."""
    return device.partition(".")[0]


class ClassScores(Word, frozen=True, gc=False, tag="classes"):
    """One score per class, as probabilities: between 0 and 1 each."""

    scores: tuple[float, ...]
    cues: tuple[float, ...] = ()
    """Cheap numbers of the input, for a learned gate of this hop and for drift. They stay here: an answer doesn't carry
    them."""

    @property
    def best(self) -> int:
        return self.scores.index(max(self.scores))

    def readable(self) -> bool:
        scores = self.scores
        if not scores or min(scores) < 0.0 or max(scores) > 1.0:
            return False
        total = sum(scores)
        return total == total  # least and greatest may miss a NaN

    def agrees(self, other: Prediction) -> bool:
        return isinstance(other, ClassScores) and len(self.scores) == len(other.scores) and self.best == other.best


class Estimate(Word, frozen=True, gc=False, tag="estimate"):
    """Values with the spread (a standard deviation) of each."""

    values: tuple[float, ...]
    spreads: tuple[float, ...]
    cues: tuple[float, ...] = ()
    """As those of class scores."""

    def readable(self) -> bool:
        return (
            bool(self.values)
            and len(self.values) == len(self.spreads)
            and all(math.isfinite(value) for value in self.values)
            and all(0.0 <= spread < math.inf for spread in self.spreads)
        )

    def agrees(self, other: Prediction) -> bool:
        """Within two standard deviations of the two estimates together, in each value."""
        return (
            isinstance(other, Estimate)
            and len(self.values) == len(other.values)
            and all(
                abs(a - b) <= 2.0 * math.hypot(s, t)
                for a, b, s, t in zip(self.values, other.values, self.spreads, other.spreads, strict=True)
            )
        )


class AnomalyScore(Word, frozen=True, gc=False, tag="anomaly"):
    """How unusual a sample is, between 0 and 1; at `limit` and above it is called an anomaly."""

    score: float
    limit: float = 0.5
    cues: tuple[float, ...] = ()

    @property
    def anomalous(self) -> bool:
        return self.score >= self.limit

    def readable(self) -> bool:
        return 0.0 <= self.score <= 1.0 and 0.0 < self.limit < 1.0

    def agrees(self, other: Prediction) -> bool:
        return isinstance(other, AnomalyScore) and self.anomalous == other.anomalous


class Detection(Word, frozen=True, gc=False):
    """One thing found: its class, how sure, and its box as shares of width and height (left, top, right, bottom)."""

    label: int
    score: float
    box: tuple[float, float, float, float]

    def overlap(self, other: Detection) -> float:
        """Intersection over union of the two boxes."""
        width = min(self.box[2], other.box[2]) - max(self.box[0], other.box[0])
        height = min(self.box[3], other.box[3]) - max(self.box[1], other.box[1])
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        return both / (_area(self.box) + _area(other.box) - both)


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


class Detections(Word, frozen=True, gc=False, tag="detections"):
    """Things found, and how sure the model is that nothing else is there: a missed one must be able to climb."""

    found: tuple[Detection, ...]
    nothing: float
    cues: tuple[float, ...] = ()

    def readable(self) -> bool:
        return 0.0 <= self.nothing <= 1.0 and all(
            0.0 <= found.score <= 1.0 and found.box[0] <= found.box[2] and found.box[1] <= found.box[3]
            for found in self.found
        )

    def agrees(self, other: Prediction) -> bool:
        """The same number of things, each with a partner of its class that covers half of it or more."""
        if not isinstance(other, Detections) or len(self.found) != len(other.found):
            return False
        left = list(other.found)
        for mine in self.found:
            theirs = next((t for t in left if t.label == mine.label and t.overlap(mine) >= 0.5), None)
            if theirs is None:
                return False
            left.remove(theirs)
        return True


Prediction: TypeAlias = ClassScores | Estimate | AnomalyScore | Detections
PREDICTION_KINDS: dict[str, type[Prediction]] = {
    "classes": ClassScores, "estimate": Estimate, "anomaly": AnomalyScore, "detections": Detections,
}  # fmt: skip


class Verdict(StrEnum):
    """What a gate says of a prediction."""

    ANSWER = "answer"
    CLIMB = "climb"
    DROP = "drop"


class Decision(Word, frozen=True, gc=False):
    """A verdict with its reason and its numbers. A number that does not apply is NaN in no case: it is None."""

    verdict: Verdict
    reason: str
    confidence: float | None = None
    threshold: float | None = None


class Energy(StrEnum):
    """Where a number of joules comes from. Never shown without."""

    MEASURED = "measured"
    APPORTIONED = "apportioned"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


class Step(Word, frozen=True, gc=False, kw_only=True):
    """What one stage of one hop did with a question: a line of the trail."""

    node: str
    tier: str
    stage: str
    model: str
    """The first characters of the model file's digest."""
    verdict: Verdict
    reason: str
    confidence: float | None = None
    threshold: float | None = None
    ms: float = 0.0
    joules: float = 0.0
    energy: Energy = Energy.UNKNOWN
    bytes_up: int = 0
    sent: str = ""
    """What went up, where it was not the input alone: `hidden` features, or these and then the `input`."""
    guess: str = ""
    """The label that its prediction stands for, whether it was sure enough of it or not; empty where there is none."""


class Outcome(StrEnum):
    """How a question ended."""

    ANSWERED = "answered"
    DROPPED = "dropped"
    EXPIRED = "expired"
    REFUSED = "refused"


class Answer(Word, frozen=True, gc=False, kw_only=True):
    """What comes back. Of one question there is at most one answer that is not provisional."""

    id: str
    device: str
    digest: bytes
    stream: str
    sequence: int
    task: str
    release: str
    outcome: Outcome
    reason: str
    prediction: Prediction | None = None
    label: str = ""
    tier: str = ""
    """Whose prediction this is."""
    provisional: bool = False
    correction: bool = False
    """A provisional answer was given before; this one takes its place."""
    repeated: bool = False
    """This may have been handed over before: after a crash nobody can know."""
    retry_ms: float | None = None
    """Of a refusal: when to ask again. None: don't."""
    trail: tuple[Step, ...] = ()

    @property
    def settles(self) -> bool:
        """It is what the question gets, whenever it is asked again: no guess, and no excuse."""
        return not self.provisional and self.outcome in (Outcome.ANSWERED, Outcome.DROPPED)

    @property
    def key(self) -> Key:
        return Key(self.device, self.id, self.digest)


def answer_to(
    question: Question,
    outcome: Outcome,
    reason: str,
    *,
    guess: Prediction | None = None,
    label: str = "",
    tier: str = "",
    provisional: bool = False,
    retry_ms: float | None = None,
    trail: tuple[Step, ...] = (),
) -> Answer:
    """An answer that carries its question's names."""
    return Answer(
        id=question.id,
        device=question.device,
        digest=question.digest,
        stream=question.stream,
        sequence=question.sequence,
        task=question.task,
        release=question.release,
        outcome=outcome,
        reason=reason,
        prediction=guess,
        label=label,
        tier=tier,
        provisional=provisional,
        retry_ms=retry_ms,
        trail=trail,
    )
