"""Synthetic ladders whose true risk is known: for showing that a guarantee holds, and that it isn't timid.

Each sample has a difficulty, drawn at random. How often each stage is right at each difficulty is a formula, so the
risk of any thresholds is known from a draw of hundreds of thousands, and no test set adds its own error to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.inference.recordings import Recordings, StageRecord
from cascade.release.ladder import GateSpec

Array = npt.NDArray[Any]

CLASSES = 10
BYTES = 500


class Problem(NamedTuple):
    """How good the stages are, from the device up: right at difficulty 0 and 1, and how noisy their confidence is."""

    tiers: tuple[str, ...] = ("edge", "cloud")
    easy: tuple[float, ...] = (0.999, 0.999)
    hard: tuple[float, ...] = (0.35, 0.8)
    noise: tuple[float, ...] = (0.8, 0.5)
    difficult: float = 0.25
    """Share of samples that are not easy."""
    name: str = "two tiers"


PROBLEMS = (
    Problem(),
    Problem(hard=(0.1, 0.85), noise=(0.3, 0.3), name="two tiers, sharp confidence"),
    Problem(
        easy=(0.99, 0.97),
        hard=(0.4, 0.75),
        noise=(1.5, 0.5),
        difficult=0.4,
        name="two tiers, the device better at what is easy",
    ),
    Problem(
        tiers=("edge", "fog", "cloud"),
        easy=(0.999, 0.999, 0.999),
        hard=(0.2, 0.5, 0.85),
        noise=(0.8, 0.8, 0.5),
        difficult=0.4,
        name="three tiers",
    ),
)


def gates_of(problem: Problem) -> list[GateSpec]:
    return [GateSpec("confidence", 0.9)] * (len(problem.tiers) - 1) + [GateSpec("always")]


def drawn(problem: Problem, samples: int, seed: int) -> Recordings:
    """So many samples, all of it by the seed."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, samples)
    difficulty = np.where(
        rng.random(samples) < problem.difficult, rng.beta(1.0, 1.0, samples), 0.05 * rng.random(samples)
    )
    luck = rng.random(samples)
    stages = tuple(
        _stage(problem, number, tier, label, difficulty, luck, rng) for number, tier in enumerate(problem.tiers)
    )
    return Recordings(
        task="t",
        stages=stages,
        label_names=tuple(str(number) for number in range(CLASSES)),
        label=label,
        input_bytes=np.full(samples, BYTES),
        max_input_bytes=BYTES,
    )


def _stage(
    problem: Problem, number: int, tier: str, label: Array, difficulty: Array, luck: Array, rng: np.random.Generator
) -> StageRecord:
    """Half of what makes a stage right is the same luck for all: models mostly err together."""
    samples = len(label)
    chance = problem.easy[number] + (problem.hard[number] - problem.easy[number]) * difficulty
    own = np.where(rng.random(samples) < 0.7, luck, rng.random(samples))
    says = np.where(own < chance, label, (label + rng.integers(1, CLASSES, samples)) % CLASSES)
    logit = np.log(chance / (1.0 - chance)) + problem.noise[number] * rng.standard_normal(samples)
    confidence = np.maximum(1.0 / (1.0 + np.exp(-logit)), 1.5 / CLASSES)
    scores = np.repeat(((1.0 - confidence) / (CLASSES - 1))[:, None], CLASSES, axis=1)
    scores[np.arange(samples), says] = confidence
    return StageRecord(
        tier=tier,
        name=f"{tier}-model",
        kind="classes",
        labels=tuple(str(each) for each in range(CLASSES)),
        model=tier,
        stage_digest=f"{number}" * 64,
        columns={"scores": scores},
        ran=np.ones(samples, bool),
        ms=np.full(samples, 1.0),
        joules=np.full(samples, 0.001),
        energy="estimated",
    )
