"""The ladders of a hop: which stage a question goes to, which batch runs next, what the gates say of what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from cascade.inference.batch import StageQueue
from cascade.inference.careful import Vigil
from cascade.inference.effects import RunStage
from cascade.inference.events import BadSample, Predicted, RunFailed
from cascade.inference.gate import UNREADABLE, Gate, label_of
from cascade.inference.hidden import Hidden
from cascade.inference.waiting import Guess, Waiting
from cascade.messages import Decision, Energy, Key, Prediction, Question, Step, Verdict
from cascade.release.ladder import Ladder, LadderStage

CLIMB = Verdict.CLIMB


class Rung:
    """A stage of an installed ladder, with its gate and those who wait for it."""

    def __init__(self, ladder: Ladder, stage: LadderStage, above: Rung | None, root: bytes = b"") -> None:
        self.task, self.release = ladder.task, ladder.release
        self.stage = stage
        self.gate = Gate(stage)
        self.keeps = stage.sends or any(each.after == stage.name for each in ladder.stages)
        """The engine holds hidden features of those who were run: for the next segment, or to be sent up."""
        self.queue = StageQueue(stage.max_batch)
        self.above = above
        self.root = root
        """The segment below whose hidden features it all goes back to; empty: the input."""
        self.vigil: Vigil | None = None
        """Of the first stage of a present ladder whose thresholds are guaranteed: who watches that."""
        self.vigil_below: Vigil | None = None
        """Of its other stages: some questions enter there, and never come to the first."""
        self.takes_s = 0.0
        """How long a run takes: believed at once when it took longer, slowly when it took less."""

    def ran(self, took_s: float) -> None:
        self.takes_s = max(took_s, self.takes_s + 0.1 * (took_s - self.takes_s))


class Weighing(msgspec.Struct, frozen=True, gc=False):
    """What came of one question in a run: a decision, or the asker's mistake."""

    waiting: Waiting
    rung: Rung
    decision: Decision | None


class Ladders:
    """Present ladder and the one before, per task. Batches are named by a number that the engine room gives back."""

    def __init__(self, node: str, tier: str, topmost: bool, open_ones: Mapping[Key, Waiting]) -> None:
        self._node, self._tier, self._topmost, self._open = node, tier, topmost, open_ones
        self._present: dict[str, str] = {}
        self._rungs: dict[tuple[str, str], list[Rung]] = {}
        self._running: dict[int, tuple[Rung, tuple[Key, ...], float]] = {}
        """Batches under way: whose they are, of whom, and since when."""
        self._busy: dict[Rung, None] = {}
        self._last_run = 0
        self.spares: Callable[[], bool] = lambda: False
        """Whether so little is left of a budget that who would ask only to be careful shouldn't."""
        self.left: Callable[[Key], None] = lambda key: None
        """Told who had left when its hidden features came."""

    def install(self, ladder: Ladder) -> list[Rung]:
        """Make it the present one. Gates that can't be raise before anything has changed."""
        rungs: list[Rung] = []
        next_of: dict[bytes, Rung] = {}
        roots = _roots(ladder)
        for stage in reversed(ladder.stages):
            root = roots[stage.name]
            next_of[root] = Rung(ladder, stage, next_of.get(root), root)
            rungs.insert(0, next_of[root])
        before = self._present.get(ladder.task)
        for task, release in list(self._rungs):
            if task == ladder.task and release not in (before, ladder.release):
                del self._rungs[task, release]
        self._present[ladder.task] = ladder.release
        self._rungs[ladder.task, ladder.release] = rungs
        return rungs

    @property
    def present(self) -> dict[str, str]:
        """The present release of each task."""
        return self._present.copy()

    def knows(self, task: str) -> bool:
        return task in self._present

    def entry(self, question: Question) -> Rung | None:
        """Where it enters. A release that is not here gives way to the present one: the trail names its model."""
        rungs = self._rungs.get((question.task, question.release))
        if rungs is None:
            rungs = self._rungs.get((question.task, self._present.get(question.task, "")), [])
        if question.hidden:
            return next((rung for rung in rungs if rung.stage.continues == question.hidden), None)
        if question.stage:
            return next((rung for rung in rungs if _is_entry(rung, question.stage)), rungs[0] if rungs else None)
        return rungs[0] if rungs else None

    def lacks(self, question: Question) -> bool:
        """It brings hidden features, and here are models of its task, but none that goes on from these."""
        if not question.hidden or self.entry(question) is not None:
            return False
        return self.entry(msgspec.structs.replace(question, hidden=b"", stage="")) is not None

    def enqueue(self, waiting: Waiting, rung: Rung, *, alone: bool = False) -> None:
        if alone:
            rung.queue.add_alone(waiting.key)
        else:
            rung.queue.add(waiting.key, waiting.question.priority)
        if rung.queue.crowded:
            rung.queue.prune(lambda key: key in self._open or None)
        self._busy[rung] = None

    @property
    def ready(self) -> bool:
        for rung in self._busy:  # noqa: SIM110 - asked after each event, and a generator is dear
            if rung.queue.ready:
                return True
        return False

    def runs(self, now: float) -> Iterator[RunStage]:
        """A batch for each stage that has none under way. Who has left meanwhile is left out."""
        for rung in list(self._busy):
            if rung.queue.ready:
                batch = rung.queue.next_batch(lambda key, by=now + rung.takes_s: self._in_time(key, by))  # type: ignore[misc]
                if batch:
                    yield self.run(rung, batch, tuple(self._open[key].question for key in batch), now)
            if not rung.queue.size:
                del self._busy[rung]

    def _in_time(self, key: Key, by: float) -> bool | None:
        waiting = self._open.get(key)
        return None if waiting is None else waiting.deadline >= by

    def run(self, rung: Rung, keys: tuple[Key, ...], questions: tuple[Question, ...], now: float) -> RunStage:
        """A batch of a stage that has none under way."""
        number = self._last_run = self._last_run + 1
        rung.queue.running = number
        self._running[number] = rung, keys, now
        return RunStage(number, rung.task, rung.release, rung.stage.name, questions)

    def weigh(self, event: Predicted, now: float) -> Iterator[Weighing]:
        rung, keys = self._finished(event.run, now)
        joules = event.joules / len(keys)
        for key, result in zip(keys, event.results, strict=True):
            waiting = self._open.get(key)
            if waiting is None:
                if rung.keeps:
                    self.left(key)
                continue
            if rung.keeps:
                _note_hidden(waiting, rung.stage)
            if isinstance(result, BadSample):
                yield Weighing(waiting, rung, None)
                continue
            decision = self._decide(rung, waiting, result)
            guess = waiting.guess.label if waiting.guess is not None and decision is not UNREADABLE else ""
            waiting.steps.append(self.step(rung.stage, decision, event.ms, joules, event.energy, guess))
            yield Weighing(waiting, rung, decision)

    def _decide(self, rung: Rung, waiting: Waiting, prediction: Prediction) -> Decision:
        decision = rung.gate.decide(prediction)
        if rung.vigil is not None and not waiting.question.audit:
            rung.vigil.note(decision.confidence, prediction)
        elif rung.vigil_below is not None and not waiting.steps and not waiting.question.audit:
            rung.vigil_below.entered_later()
        if decision.reason == "unreadable":
            return decision
        waiting.guess = Guess(prediction, label_of(rung.stage, prediction), self._tier)
        if decision.verdict is CLIMB and self._topmost and rung.above is None:
            return Decision(Verdict.ANSWER, "nobody_above", decision.confidence, decision.threshold)
        if decision.reason == "careful" and rung.above is None and self.spares():
            return msgspec.structs.replace(rung.gate.as_usual(prediction), reason="spared")
        return decision

    def failed(self, event: RunFailed, now: float) -> Iterator[Weighing]:
        """A batch that failed is tried one by one; one that fails alone climbs."""
        rung, keys = self._finished(event.run, now)
        for key in keys:
            waiting = self._open.get(key)
            if waiting is None:
                continue
            if len(keys) > 1:
                self.enqueue(waiting, rung, alone=True)
                continue
            decision = Decision(CLIMB, "stage_failed")
            waiting.steps.append(self.step(rung.stage, decision))
            yield Weighing(waiting, rung, decision)

    def step(
        self,
        stage: LadderStage | None,
        decision: Decision,
        ms: float = 0.0,
        joules: float = 0.0,
        energy: Energy = Energy.UNKNOWN,
        guess: str = "",
    ) -> Step:
        """A line of the trail. Without a stage: the question was only passed on."""
        return Step(
            node=self._node,
            tier=self._tier,
            stage=stage.name if stage else "",
            model=stage.model if stage else "",
            verdict=decision.verdict,
            reason=decision.reason,
            confidence=decision.confidence,
            threshold=decision.threshold,
            ms=ms,
            joules=joules,
            energy=energy,
            guess=guess,
        )

    def _finished(self, run: int, now: float) -> tuple[Rung, tuple[Key, ...]]:
        rung, keys, began_at = self._running.pop(run)
        rung.queue.running = None
        rung.ran(now - began_at)
        return rung, keys


def _is_entry(rung: Rung, stage: str) -> bool:
    """For who brings the input."""
    return rung.stage.name == stage and not rung.root


def _roots(ladder: Ladder) -> dict[str, bytes]:
    """What each stage goes back to: hidden features from below by their digest, or the input."""
    roots: dict[str, bytes] = {}
    for stage in ladder.stages:
        roots[stage.name] = stage.continues or roots.get(stage.after, b"")
    return roots


def _note_hidden(waiting: Waiting, stage: LadderStage) -> None:
    if waiting.hidden is None:
        waiting.hidden = Hidden()
    if stage.sends:
        waiting.hidden.sendable = stage.name
