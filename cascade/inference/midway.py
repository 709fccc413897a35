"""A hop that goes through a journal from its middle, because the beginning has been overwritten.

It begins with the ladders that the journal names, and catches up: of questions that were open before it knows nothing,
runs have other numbers, and until some batches in a row were the same, what it decides may not be what was decided.
Whatever may be wrong for that reason is in `doubtful`, and not told. Breaker, budgets and retries begin afresh: what
they were before is not known, and whoever tells what came out should say so.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from cascade.inference.effects import Effect, Remember, Reply, RunStage
from cascade.inference.events import Asked, BadSample, Event, LinkLost, LinkUp, Predicted, Remembered, RunFailed, Sent
from cascade.inference.hop import Hop
from cascade.messages import Key

IN_STEP = 3
"""So many runs in a row must have been just as ours, before what is asked now is told without a doubt."""


def link_was_up(journal: Iterable[tuple[float, Event]]) -> bool:
    """Whether the link above was up where this begins: told by what happens to it first."""
    for _, event in journal:
        if isinstance(event, LinkUp | LinkLost):
            return isinstance(event, LinkLost)
        if isinstance(event, Sent) and event.questions:
            return True
    return False


class Midway:
    """A machine as the hop is one: takes its events, and leaves out those that it can't place."""

    def __init__(self, hop: Hop, *, up: bool) -> None:
        self.doubtful: set[Key] = set()
        """Questions whose answers may have been others."""
        self._hop = hop
        self._up = up
        self._running: dict[int, RunStage] = {}
        self._ahead: int | None = None
        """By how much the journal's runs are numbered higher than ours; None while that isn't known."""
        self._in_step = 0
        """Runs in a row that were just as ours."""
        self._open: set[Key] = set()
        self._remembering: set[Key] = set()

    @property
    def wakes_at(self) -> float | None:
        return self._hop.wakes_at

    def handle(self, event: Event, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._up:
            self._up = False
            effects += self._handled(LinkUp(), now)
        if isinstance(event, Predicted | RunFailed):
            return effects + self._ran(event, now)
        if isinstance(event, Remembered):
            if event.key not in self._remembering:
                return effects
            self._remembering.discard(event.key)
        if isinstance(event, Asked):
            self._asked(event.question.key)
        return effects + self._handled(event, now)

    def _asked(self, key: Key) -> None:
        self._open.add(key)
        if self._in_step < IN_STEP:
            self.doubtful.add(key)

    def _handled(self, event: Event, now: float) -> list[Effect]:
        effects = self._hop.handle(event, now)
        for effect in effects:
            if isinstance(effect, RunStage):
                self._running[effect.run] = effect
            elif isinstance(effect, Remember):
                self._remembering.add(effect.key)
            elif isinstance(effect, Reply) and not effect.answer.provisional:
                self._open.discard(effect.answer.key)
        return effects

    def _ran(self, event: Predicted | RunFailed, now: float) -> list[Effect]:
        """By its number where that is known. Else it may be the only run that is under way here."""
        run = event.run - self._ahead if self._ahead is not None else -1
        if run in self._running and self._fits(run, event):
            self._in_step += 1
            return self._end(run, event, now)
        self._stumble()
        run = next(iter(self._running), -1)
        if len(self._running) == 1 and self._fits(run, event):
            self._ahead = event.run - run
            return self._end(run, event, now)
        return self._clear(now)

    def _fits(self, run: int, event: Predicted | RunFailed) -> bool:
        return isinstance(event, RunFailed) or len(event.results) == len(self._running[run].questions)

    def _end(self, run: int, event: Predicted | RunFailed, now: float) -> list[Effect]:
        del self._running[run]
        return self._handled(msgspec.structs.replace(event, run=run), now)

    def _stumble(self) -> None:
        self._in_step = 0
        self.doubtful |= self._open

    def _clear(self, now: float) -> list[Effect]:
        """The journal ran another batch than we would have. Those in ours leave: they will not be in step any more."""
        effects: list[Effect] = []
        cleared, self._running = self._running, {}
        for run, wanted in cleared.items():
            nothing = tuple(BadSample("not in the journal") for _ in wanted.questions)
            effects += self._handled(Predicted(run, nothing), now)
        return effects
