"""What came of each question of one system: from its answers, whichever way those came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from cascade.messages import Answer, Energy, Estimate, Outcome, Step
from cascade.release.bundle import TIERS

Array = npt.NDArray[Any]

NOBODY = "nobody"
PASSES_ON = "passes-on"
"""A stage that stands in where a system has no model: it says nothing, and costs nothing."""
Right = Callable[[Answer, str], float]
"""1 where the answer says what the label says, 0 where not."""


class Told(NamedTuple):
    """What the application got for one question: by the deadline, and in the end."""

    first: Answer
    ms: float
    final: Answer


@dataclass(frozen=True, eq=False)
class Replayed:
    """A column per figure, in the order of the data. Joules are NaN where a model ran whose costs nobody knows."""

    system: str
    right: Array
    """Of the answer that was there by the deadline: who waits no longer goes by that."""
    ms: Array
    answered_by: tuple[str, ...]
    """`tier/stage` of the prediction that was given; `nobody`."""
    bytes_up: Mapping[str, Array]
    """By the tier that sent them: messages as they travel, without what TCP, MQTT and gRPC add."""
    model_joules: Mapping[str, Array]
    """By tier."""
    energy: frozenset[Energy]
    """Where those joules come from."""
    provisional: Array
    decisions: str
    """Digest of everything that was decided, and of nothing that a clock said: equal where two replays are."""

    @property
    def questions(self) -> int:
        return len(self.right)


def right_by(within: float) -> Right:
    """Class and anomaly by their word; an estimate where it is near enough."""

    def right(answer: Answer, label: str) -> float:
        guess = answer.prediction
        if not isinstance(guess, Estimate):
            return float(answer.label == label)
        return float(distance(guess, label) <= within)

    return right


def distance(guess: Estimate, label: str) -> float:
    """Euclidean. A label of several numbers has them apart by spaces or commas."""
    numbers = numbers_of(label)
    if len(numbers) != len(guess.values):
        return float("inf")
    return float(np.linalg.norm(np.array(guess.values) - np.array(numbers)))


def numbers_of(label: str) -> list[float]:
    """Empty for what is none."""
    try:
        return [float(part) for part in label.strip("[]() ").replace(",", " ").split()]
    except ValueError:
        return []


def gathered(system: str, told: Sequence[Told], labels: Sequence[str], right: Right) -> Replayed:
    energy = {step.energy for each in told for step in each.final.trail if _ran(step)}
    return Replayed(
        system=system,
        right=np.array(
            [right(each.first, label) if label else np.nan for each, label in zip(told, labels, strict=True)]
        ),
        ms=np.array([each.ms for each in told]),
        answered_by=tuple(_answered_by(each.first) for each in told),
        bytes_up={tier: np.array([_bytes(each.final, tier) for each in told], float) for tier in TIERS[:-1]},
        model_joules={tier: np.array([_joules(each.final, tier) for each in told]) for tier in TIERS},
        energy=frozenset(energy),
        provisional=np.array([each.first.provisional for each in told], bool),
        decisions=decisions_digest([each.final for each in told]),
    )


def decisions_digest(answers: Sequence[Answer]) -> str:
    digest = blake2b(digest_size=16)
    for answer in answers:
        steps = [
            (step.tier, step.stage, step.verdict, step.reason, step.confidence, step.threshold, step.bytes_up)
            for step in answer.trail
        ]
        said = (answer.outcome, answer.reason, answer.label, answer.tier, answer.provisional, answer.prediction, steps)
        digest.update(msgspec.msgpack.encode(said))
    return digest.hexdigest()


def _answered_by(answer: Answer) -> str:
    """Of the tier whose prediction it is, the last stage that it ran."""
    if answer.prediction is None or answer.outcome not in (Outcome.ANSWERED, Outcome.DROPPED):
        return NOBODY
    ran = [step.stage for step in answer.trail if step.tier == answer.tier and step.stage]
    return f"{answer.tier}/{ran[-1]}" if ran else answer.tier


def _bytes(answer: Answer, tier: str) -> int:
    return sum(step.bytes_up for step in answer.trail if step.tier == tier)


def _joules(answer: Answer, tier: str) -> float:
    ran = [step for step in answer.trail if step.tier == tier and _ran(step)]
    if any(step.energy is Energy.UNKNOWN for step in ran):
        return float("nan")
    return sum(step.joules for step in ran)


def _ran(step: Step) -> bool:
    return step.stage not in ("", PASSES_ON)
