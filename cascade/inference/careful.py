"""Careful: what a hop does when the guarantee of its thresholds no longer holds.

A guarantee is of these models, on data like what was recorded. When the hop above turns out to be another one, when
confidences or inputs drift, or when audits agree less than recorded, nobody knows any more what the thresholds are
worth. Then the hop says so, and asks more often: its gates allow less doubt, step by step up to a bound, within the
budgets of the way up. When the doubt is over they go back, more slowly than they came; new thresholds end it at once.

A doubt is over when for a while nothing of its kind was found again, counted in what could have shown it: without
audits no disagreement is over. Nothing here knows the time, so a journal replays it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from cascade.inference.detector import Detector, bets_that_more_fail
from cascade.inference.drift import BLOCK, DriftWatch
from cascade.inference.effects import Effect, RecordAudit, RecordDistances, RecordStanding
from cascade.inference.gate import Gate
from cascade.machine import Transitions
from cascade.messages import Answer, Prediction
from cascade.release.ladder import Ladder


class Standing(StrEnum):
    """How the guarantee of a task's thresholds stands."""

    UNGUARDED = "unguarded"
    """There is none: nothing to watch."""
    UNKNOWN = "unknown"
    """The hop above has not been heard yet: it may be another one."""
    STEADY = "steady"
    CAREFUL = "careful"
    EASING = "easing"
    """The doubts are over, and the thresholds on their way back."""


class Sign(StrEnum):
    """What changes it."""

    INSTALLED = "new thresholds"
    BARE = "thresholds without a guarantee"
    CONFIRMED = "the hop above is the one"
    DOUBTED = "a doubt"
    CLEARED = "no doubt left"
    EASED = "thresholds are back"


_EVERY = tuple(Standing)
STANDINGS = Transitions(
    {
        **{(standing, Sign.INSTALLED): Standing.UNKNOWN for standing in _EVERY},
        **{(standing, Sign.BARE): Standing.UNGUARDED for standing in _EVERY},
        (Standing.UNKNOWN, Sign.CONFIRMED): Standing.STEADY,
        (Standing.UNKNOWN, Sign.DOUBTED): Standing.CAREFUL,
        (Standing.STEADY, Sign.DOUBTED): Standing.CAREFUL,
        (Standing.CAREFUL, Sign.DOUBTED): Standing.CAREFUL,
        (Standing.CAREFUL, Sign.CLEARED): Standing.EASING,
        (Standing.EASING, Sign.DOUBTED): Standing.CAREFUL,
        (Standing.EASING, Sign.EASED): Standing.STEADY,
    }
)

CONFIDENCE_DRIFT, INPUT_DRIFT = "confidence_drift", "input_drift"
DISAGREEMENT, OTHER_MODEL = "disagreement", "other_model_above"
DOUBTS = (CONFIDENCE_DRIFT, INPUT_DRIFT, DISAGREEMENT, OTHER_MODEL)

FEWER_AUDITS, FEWER_ANSWERS = 4, 8
"""Audits and answers from above are fewer than questions: so many times sooner a doubt by them is over."""
AUDITS_SELDOM = 10.0
"""And so many times fewer audits than questions may lie between two false alarms."""
SHOWN_EVERY = 8
"""Blocks after which distances are told."""


class Vigil:
    """Watches over the guarantee of one task, and moves the thresholds of its present ladder."""

    def __init__(self, task: str, out: list[Effect]) -> None:
        self.task = task
        self.standing = Standing.UNGUARDED
        self.doubts: dict[str, int] = {}
        """Each with how much more of its kind must be seen without another alarm."""
        self.caution = 0.0
        """Part of the way from the release's thresholds to the most careful ones."""
        self._out = out
        self._gates: Sequence[Gate] = ()
        self._drift: DriftWatch | None = None
        self._noted = self._blocks = 0

    def install(self, ladder: Ladder, gates: Sequence[Gate]) -> bool:
        """New thresholds: whether there is something to watch."""
        first = ladder.stages[0] if ladder.stages else None
        reference = first.reference if first is not None else None
        self.doubts.clear()
        self.caution, self._gates, self._care, self._release = 0.0, gates, ladder.care, ladder.release
        self._models = frozenset(ladder.models_above)
        self._drift, self._noted = None, 0
        self._audits: Detector | None = None
        if first is not None and reference is not None:
            self._drift = DriftWatch(reference, first.cues, ladder.care.seldom)
            if reference.agreement is not None:
                rounds = ladder.care.seldom / AUDITS_SELDOM
                self._audits = Detector(bets_that_more_fail(1.0 - reference.agreement), rounds)
        if not self._models and reference is None:
            self._turn(Sign.BARE)
            return False
        self._turn(Sign.INSTALLED)
        if not self._models:
            self._turn(Sign.CONFIRMED)  # no model above was promised: there is none to wait for
        return True

    def note(self, confidence: float | None, prediction: Prediction) -> None:
        """A question of the ladder's first stage. The hot path: an append, and a look at every sixteenth."""
        if self._drift is None:
            self._noted += 1
            if self._noted >= BLOCK:
                self._noted = 0
                self._look([])
        elif self._drift.note(confidence, prediction.cues):
            self._look(self._drift.drifted())

    def entered_later(self) -> None:
        """A question that never came to the first stage: a watch had looked at it with that, or it brought hidden
        features. It shows nothing of what that stage says, and brings the thresholds on their way all the same."""
        self._noted += 1
        if self._noted >= BLOCK:
            self._noted = 0
            self._step()

    def audited(self, record: RecordAudit) -> None:
        """What was settled here was asked above as well. One that could not be compared shows nothing."""
        if self._audits is None or record.agreed is None:
            return
        if self._audits.alarmed(_FINE if record.agreed else _FAILED):
            self._doubt(DISAGREEMENT, self._care.calm // FEWER_AUDITS)
        else:
            self._pass(DISAGREEMENT, 1)

    def heard(self, answer: Answer) -> None:
        """An answer from above, whose trail names the models that made it."""
        if not self._models or answer.release != self._release:
            return
        models = {step.model for step in answer.trail if step.model}
        if not models <= self._models:
            self._doubt(OTHER_MODEL, self._care.calm // FEWER_ANSWERS)
        elif models:
            if self.standing is Standing.UNKNOWN:
                self._turn(Sign.CONFIRMED)
            self._pass(OTHER_MODEL, 1)

    def distances(self) -> dict[str, float]:
        return self._drift.distances() if self._drift is not None else {}

    def _look(self, drifted: Sequence[str]) -> None:
        """Once a block: what has drifted, which doubts are over, and the next step of the thresholds."""
        for doubt, found in _sorted_out(drifted):
            if found:
                self._doubt(doubt, self._care.calm)
            elif doubt in self.doubts:
                self._pass(doubt, BLOCK)
        self._step()
        self._blocks += 1
        if self._drift is not None and self._blocks % SHOWN_EVERY == 0:
            self._out.append(RecordDistances(self.task, self._drift.distances()))

    def _step(self) -> None:
        if self.standing is Standing.CAREFUL:
            self._move(min(1.0, self.caution + self._care.step))
        elif self.standing is Standing.EASING:
            self._move(max(0.0, self.caution - self._care.ease))
            if not self.caution:
                self._turn(Sign.EASED)

    def _doubt(self, doubt: str, calm: int) -> None:
        is_new = doubt not in self.doubts
        self.doubts[doubt] = calm
        if is_new:
            self._turn(Sign.DOUBTED)

    def _pass(self, doubt: str, seen: int) -> None:
        """So much was seen without an alarm."""
        left = self.doubts.get(doubt)
        if left is None:
            return
        self.doubts[doubt] = left - seen
        if left > seen:
            return
        del self.doubts[doubt]
        if self.doubts:
            self._tell()
        else:
            self._turn(Sign.CLEARED)

    def _move(self, caution: float) -> None:
        if caution == self.caution:
            return
        self.caution = caution
        for gate in self._gates:
            gate.be_careful(self._care.most**caution)
        self._tell()

    def _turn(self, sign: Sign) -> None:
        self.standing = STANDINGS.after(self.standing, sign)
        self._tell()

    def _tell(self) -> None:
        self._out.append(RecordStanding(self.task, self.standing.value, tuple(self.doubts), self.caution))


def _sorted_out(drifted: Sequence[str]) -> tuple[tuple[str, bool], tuple[str, bool]]:
    confidence = "confidence" in drifted
    return (CONFIDENCE_DRIFT, confidence), (INPUT_DRIFT, len(drifted) > confidence)


_FINE, _FAILED = np.array([0]), np.array([1])
