"""Thresholds with a guarantee: Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021).

An order in which thresholds are tried is fixed first (`path.py`). Each is then tested on samples that had no part in
it: "some target is missed here" must be refuted with the error that is allowed, and the first that can't be ends the
walk. Of such a fixed sequence the chance that anything wrong is refuted is the error of one test, however long it is;
several targets hold together, as the largest of their p-values tests them all.

What is assumed: recorded samples and those of the field are drawn alike and one by one, and what climbs is answered
from above. What is promised: over the drawing of the recordings, with the confidence, the means of the field are within
the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.errors import CascadeError
from cascade.inference.recordings import Recordings
from cascade.inference.scoring import Scored, Weighed, climb, weighed
from cascade.release.ladder import GateSpec
from cascade.release.promise import Seen
from cloud_service.calibrating.path import Path, Thresholds, fixed_path, is_fixed, learned_path, movable
from cloud_service.calibrating.support import needed, unsupported
from cloud_service.calibrating.targets import Circumstances, Counted, Losses, Target, missing_facts

Array = npt.NDArray[Any]

METHOD = "Learn then Test, fixed sequence; exact binomial and paired tests, betting for bytes and joules"
ASSUMES = (
    "recorded samples and those of the field are drawn alike and independently; the ladder is this one; "
    "what climbs is answered from above by its deadline"
)
LEARN_SHARE = 0.15
"""Of samples, where only an order of thresholds has to be learned: more would be missed in the test."""
LEARNED_FROM = 1500
"""Samples to learn on, from which an order of several thresholds is learned where a fixed one would do."""

JOULES_COUNT = 0.25
"""What a share of the device's joules counts, where the same share of bytes counts 1: links are scarcer."""


class CannotPromise(CascadeError):
    """The recordings don't support the promise. Says what would."""


class Guarantee(NamedTuple):
    """Thresholds, and what was seen of them on the samples they were tested on."""

    thresholds: Thresholds
    scored: Scored
    seen: tuple[Seen, ...]
    samples: int
    tried: int
    """Steps of the path that were refuted to miss a target: the last of them is the one."""


def guarantee(
    recordings: Recordings,
    gates: Sequence[GateSpec],
    targets: Sequence[Target],
    confidence: float,
    circumstances: Circumstances = Circumstances(),  # noqa: B008  # a NamedTuple can't be changed
    *,
    learn: Recordings | None = None,
    seed: int = 0,
    without: Sequence[str] = (),
    learn_share: float = LEARN_SHARE,
    repeats: bool = False,
) -> Guarantee:
    """The cheapest thresholds that keep all targets with the confidence; `CannotPromise` where there are none.

    `learn` are samples to choose the order on, which must not be among `recordings`: without any, a share is set
    apart by the seed where the order has to be learned. `without` are labels that the field will not have either;
    `repeats` says that the field has as many copies of samples as were recorded.
    """
    mistakes = missing_facts(targets, recordings, circumstances)
    mistakes += unsupported(recordings, targets, without, repeats)
    if mistakes:
        raise CannotPromise("; ".join(mistakes))
    walk = _Walk(gates, targets, 1.0 - confidence, circumstances)
    stages = walk.stages(recordings)
    if not movable(stages):
        raise CannotPromise("no gate below the top has a threshold to choose")
    both = len({target.is_budget for target in targets}) == 2
    to_learn_on = round(learn_share * recordings.samples) if learn is None else learn.samples
    fixed = is_fixed(stages) and (len(movable(stages)) == 1 or to_learn_on < LEARNED_FROM)
    if learn is None and (both or not fixed):
        learn, recordings = split(recordings, learn_share, seed)
        stages = walk.stages(recordings)
    path = fixed_path(stages) if fixed or learn is None else walk.path(learn)
    order = walk.order(path, learn)
    return walk.tested(recordings, stages, order)


def split(recordings: Recordings, share: float, seed: int) -> tuple[Recordings, Recordings]:
    """Two parts by chance: the first to choose on, the second to test on."""
    order = np.random.default_rng(seed).permutation(recordings.samples)
    cut = min(max(1, round(share * len(order))), len(order) - 1) if len(order) > 1 else 0
    if not cut:
        raise CannotPromise("1 sample is too few to choose on and to test on")
    return recordings.taken(np.sort(order[:cut])), recordings.taken(np.sort(order[cut:]))


class _Walk:
    """One walk along a path."""

    def __init__(
        self, gates: Sequence[GateSpec], targets: Sequence[Target], error: float, circumstances: Circumstances
    ) -> None:
        self._gates, self._targets, self._error, self._circumstances = gates, targets, error, circumstances

    def stages(self, recordings: Recordings) -> list[Weighed]:
        return [weighed(record, gate) for record, gate in zip(recordings.stages, self._gates, strict=True)]

    def losses(self, recordings: Recordings, stages: Sequence[Weighed]) -> Losses:
        return Losses(all_climb(recordings, stages), self._circumstances)

    def path(self, learn: Recordings) -> Path:
        """Risks are added up in units of what is allowed: of several targets each counts as it is near its bound."""
        stages = self.stages(learn)
        losses = self.losses(learn, stages)
        accuracy = [target for target in self._targets if not target.is_budget]
        usual = Target("disagreement", 0.01)

        def risk(scored: Scored) -> float:
            counted = [losses.counted(target, scored) for target in accuracy or [usual]]
            return float(np.nansum([each.mean / each.bound for each in counted]))

        return learned_path(learn, stages, risk, price(all_climb(learn, stages)))

    def order(self, path: Path, learn: Recordings | None) -> list[Thresholds]:
        """Budgets alone: from the cheapest on, towards more accuracy. Both: from where it looks safest on the samples
        to learn on, towards the cheaper."""
        steps = list(path.steps)
        budgets = [target.is_budget for target in self._targets]
        if not any(budgets):
            return steps
        if all(budgets) or learn is None:
            return steps[::-1]
        stages = self.stages(learn)
        losses = self.losses(learn, stages)
        slack = [
            min(_slack(each) for each in self._counted(losses, climb(learn, stages, step)).values()) for step in steps
        ]
        return steps[int(np.argmax(slack)) :]

    def tested(self, recordings: Recordings, stages: Sequence[Weighed], order: Sequence[Thresholds]) -> Guarantee:
        losses = self.losses(recordings, stages)
        best: tuple[Thresholds, Scored] | None = None
        tried = 0
        for step in order:
            scored = climb(recordings, stages, step)
            if self._p_value(losses, scored) > self._error:
                break
            best, tried = (step, scored), tried + 1
        if best is None or not (_answers_below(best[1]) or all(target.is_budget for target in self._targets)):
            raise CannotPromise(self._why_not(losses, recordings, stages, order, best))
        seen = tuple(self._seen(target, each) for target, each in self._counted(losses, best[1]).items())
        return Guarantee(best[0], best[1], seen, recordings.samples, tried)

    def _counted(self, losses: Losses, scored: Scored) -> dict[Target, Counted]:
        return {target: losses.counted(target, scored) for target in self._targets}

    def _p_value(self, losses: Losses, scored: Scored) -> float:
        return max(each.p_value(self._error) for each in self._counted(losses, scored).values())

    def _seen(self, target: Target, counted: Counted) -> Seen:
        return Seen(
            target=target.text or target.kind,
            found=counted.mean,
            bound=counted.at_most(self._error),
            p_value=counted.p_value(self._error),
        )

    def _why_not(
        self,
        losses: Losses,
        recordings: Recordings,
        stages: Sequence[Weighed],
        order: Sequence[Thresholds],
        best: tuple[Thresholds, Scored] | None,
    ) -> str:
        """What would help: more samples, and how many, or other models."""
        tried = [(climb(recordings, stages, step)) for step in order]
        answering = [scored for scored in tried if _answers_below(scored)]
        if not answering:
            return "whatever the thresholds, nothing is answered below the top: what is said there can't be read"
        judged = [self._counted(losses, scored) for scored in answering]
        wanted = [needed(each, self._error, recordings.samples) for each in judged]
        few = min((count for count in wanted if count is not None), default=None)
        if few is not None:
            return (
                f"{recordings.samples} samples can't support it; with about {few} like these some thresholds would, "
                "and with more of them more would be answered below"
            )
        near = min(judged, key=lambda each: max(one.mean / one.bound for one in each.values()))
        target, worst = max(near.items(), key=lambda one: one[1].mean / one[1].bound)
        return (
            f"no thresholds keep it on these recordings, and more samples would not help: "
            f"{target.text or target.kind}: found {target.said(worst.mean)} at best, "
            f"where {target.said(worst.bound)} is allowed"
        )


def price(dearest: Scored) -> Callable[[Scored], float]:
    """What thresholds are to save: bytes on all links, and joules of the device's models, each as a share of what they
    come to where everything climbs. An early exit saves no byte, and is there for the joules."""
    most_bytes, most_joules = float(dearest.all_bytes.mean()), float(dearest.device_joules.mean())

    def paid(scored: Scored) -> float:
        sent = float(scored.all_bytes.mean()) / most_bytes if most_bytes else 0.0
        spent = float(scored.device_joules.mean()) / most_joules if most_joules else 0.0
        return sent + JOULES_COUNT * spent

    return paid


def all_climb(recordings: Recordings, stages: Sequence[Weighed]) -> Scored:
    """What the top alone would have answered: what cascades are compared with. No gate is sure at a NaN."""
    return climb(recordings, stages, [float("nan")] * len(stages))


def _answers_below(scored: Scored) -> bool:
    return not np.isin(scored.answered_by, np.flatnonzero(scored.recordings.crossings.ends)).all()


def _slack(counted: Counted) -> float:
    """How far from its bound, in standard errors."""
    if not counted.samples:
        return -np.inf
    error = float(counted.values.std()) / np.sqrt(counted.samples) + 1e-3 * counted.bound
    return float((counted.bound - counted.mean) / error)
