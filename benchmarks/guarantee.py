"""Is the guarantee kept, and what does it cost? Two hundred synthetic draws, and real data split two hundred times, so
that 4,000 of its samples are drawn, and 10,000.

    python -m benchmarks.guarantee --runs 200 --out build/guarantee.json

Of each draw thresholds are computed for "at most 0.5 points worse than the cloud, with 90 % confidence". The promise is
broken where the risk on everything else is above half a point: of the synthetic ladders the truth (300,000 samples), of
the real ones the images that were not drawn, so that there an error of theirs is in what is seen. Beside it, what
climbed, against the best thresholds in hindsight: those that would have been chosen by looking at all the rest.

The real part wants scikit-learn and CASCADE_DATA; its models are small on purpose, and trained here in minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from benchmarks.guarantee_problems import PROBLEMS, Problem, drawn, gates_of
from benchmarks.guarantee_real import data_folder, recordings_of
from cascade.inference.recordings import Recordings
from cascade.inference.scoring import Weighed, climb, weighed
from cascade.release.ladder import GateSpec
from cloud_service.calibrating.guarantee import CannotPromise, all_climb, guarantee
from cloud_service.calibrating.path import Thresholds, fixed_path
from cloud_service.calibrating.targets import Circumstances, Losses, read_target

CONFIDENCE = 0.9
TARGET, _ = read_target("at most 0.5 points worse than the cloud")
POPULATION = 300_000
REAL_SAMPLES = (4_000, 10_000)
REAL = (("fashion-mnist", ("edge", "cloud")), ("fashion-mnist", ("edge", "fog", "cloud")), ("mnist", ("edge", "cloud")))


class Kept(NamedTuple):
    """What came of many draws."""

    problem: str
    samples: int
    runs: int
    refused: int
    broken: int
    up: float
    """Share of what sending everything takes, on average over the draws."""
    best_up: float
    ratio: float
    ratio_of_nine_in_ten: float
    seconds_each: float

    @property
    def allowed(self) -> int:
        """More broken ones than this would be a wonder, at one in twenty, if the promise is kept."""
        return int(binom.ppf(0.95, self.runs - self.refused, 1.0 - CONFIDENCE))

    def line(self) -> str:
        return (
            f"{self.problem:45} {self.samples:6} {self.refused:7} {self.broken:6} {f'({self.allowed})':9} "
            f"{self.up:6.1%} {self.best_up:8.1%} {self.ratio:6.2f} {self.ratio_of_nine_in_ten:8.2f} "
            f"{self.seconds_each:8.2f}"
        )


class Truth:
    """A population on which risks and costs are looked up."""

    def __init__(self, recordings: Recordings, gates: Sequence[GateSpec], whole: Truth | None = None) -> None:
        """`whole`: what the recordings are nearly all of. What would have been best is looked up there, once."""
        self._whole = whole
        self._recordings = recordings
        self._stages = [weighed(*pair) for pair in zip(recordings.stages, gates, strict=True)]
        top = all_climb(recordings, self._stages)
        self._losses = Losses(top, Circumstances())
        self._all_up = float(top.all_bytes.mean())

    def of(self, thresholds: Sequence[float | None]) -> tuple[float, float]:
        """Risk, and bytes on all links as a share of what sending everything takes."""
        scored = climb(self._recordings, self._stages, thresholds)
        return self._losses.counted(TARGET, scored).mean, float(scored.all_bytes.mean()) / self._all_up

    @cached_property
    def best(self) -> float:
        """The least that could have climbed with a risk within the target."""
        if self._whole is not None:
            return self._whole.best
        return min(up for risk, up in map(self.of, _candidates(self._stages)) if risk <= TARGET.bound)


def _candidates(stages: Sequence[Weighed]) -> list[tuple[float | None, ...]]:
    if len(stages) == 2:
        return list(fixed_path(stages).steps)
    levels = [np.quantile(stage.values, np.linspace(0.0, 1.0, 33)).tolist() for stage in stages[:-1]]
    return [(*each, None) for each in itertools.product(*levels)]


Draw = Callable[[int], tuple[Recordings, Truth]]


def tried(name: str, draw: Draw, gates: Sequence[GateSpec], runs: int, samples: int) -> Kept:
    refused, broken, spent_s = 0, 0, 0.0
    ups: list[float] = []
    bests: list[float] = []
    for seed in range(runs):
        recordings, truth = draw(seed)
        started_s = time.perf_counter()
        thresholds = _thresholds(recordings, gates, seed)
        spent_s += time.perf_counter() - started_s
        if thresholds is None:
            refused += 1
            continue
        risk, up = truth.of(thresholds)
        broken += risk > TARGET.bound
        ups.append(up)
        bests.append(truth.best)
    ratios = np.array(ups or [np.nan]) / np.array(bests or [np.nan])
    return Kept(
        problem=name,
        samples=samples,
        runs=runs,
        refused=refused,
        broken=int(broken),
        up=float(np.mean(ups or [np.nan])),
        best_up=float(np.mean(bests or [np.nan])),
        ratio=float(ratios.mean()),
        ratio_of_nine_in_ten=float(np.quantile(ratios, 0.9)),
        seconds_each=spent_s / runs,
    )


def _thresholds(recordings: Recordings, gates: Sequence[GateSpec], seed: int) -> Thresholds | None:
    try:
        return guarantee(recordings, gates, [TARGET], CONFIDENCE, seed=seed).thresholds
    except CannotPromise:
        return None


def synthetic(runs: int, samples: int) -> Iterator[Kept]:
    for problem in PROBLEMS:
        gates = gates_of(problem)
        truth = Truth(drawn(problem, POPULATION, 10**6), gates)

        def draw(seed: int, problem: Problem = problem, truth: Truth = truth) -> tuple[Recordings, Truth]:
            return drawn(problem, samples, seed), truth

        yield tried(problem.name, draw, gates, runs, samples)


def real(runs: int, cache: Path) -> Iterator[Kept]:
    for name, tiers in REAL:
        whole = recordings_of(name, tiers, cache)
        gates = [GateSpec("confidence", 0.9)] * (len(tiers) - 1) + [GateSpec("always")]
        all_of_it = Truth(whole, gates)
        for samples in REAL_SAMPLES:
            yield tried(f"{name}, {len(tiers)} tiers", _splits(whole, all_of_it, gates, samples), gates, runs, samples)


def _splits(whole: Recordings, all_of_it: Truth, gates: Sequence[GateSpec], samples: int) -> Draw:
    def draw(seed: int) -> tuple[Recordings, Truth]:
        order = np.random.default_rng(seed).permutation(whole.samples)
        return whole.taken(order[:samples]), Truth(whole.taken(order[samples:]), gates, all_of_it)

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=4000, help="in each synthetic draw")
    parser.add_argument("--out", type=Path, default=Path("build/guarantee.json"))
    wanted = parser.parse_args()
    print(f"{TARGET.text}, with {CONFIDENCE:.0%} confidence; {wanted.runs} draws each")
    print(f"{'problem':45} samples refused broken (allowed) climbs  at best  ratio  9 in 10  seconds")
    found = []
    sources = [synthetic(wanted.runs, wanted.samples)]
    if data_folder() is not None:
        sources.append(real(wanted.runs, wanted.out.parent))
    for kept in itertools.chain(*sources):
        print(kept.line(), flush=True)
        found.append({**kept._asdict(), "allowed": kept.allowed})
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps({"target": TARGET.text, "confidence": CONFIDENCE, "found": found}, indent=2))


if __name__ == "__main__":
    main()
