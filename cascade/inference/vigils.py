"""All the vigils of a hop: one per task, over the ladder that is present."""

from __future__ import annotations

from cascade.inference.careful import Vigil
from cascade.inference.effects import Effect, RecordAudit
from cascade.inference.weigh import Rung
from cascade.messages import Answer
from cascade.release.ladder import Ladder


class Vigils:
    """Only of a hop with somebody above: who has nobody to ask can't ask more often."""

    def __init__(self, out: list[Effect]) -> None:
        self._out = out
        self._watched: dict[str, list[Rung]] = {}
        self.by_task: dict[str, Vigil] = {}

    def install(self, ladder: Ladder, rungs: list[Rung]) -> None:
        """What the ladder before had found out was about other thresholds: it stays as it is."""
        for rung in self._watched.pop(ladder.task, []):
            rung.vigil = rung.vigil_below = None
        vigil = self.by_task.get(ladder.task)
        if vigil is None:
            vigil = self.by_task[ladder.task] = Vigil(ladder.task, self._out)
        if vigil.install(ladder, [rung.gate for rung in rungs]) and rungs:
            self._watched[ladder.task] = rungs
            rungs[0].vigil = vigil
            for rung in rungs[1:]:
                rung.vigil_below = vigil

    def heard(self, answer: Answer) -> None:
        vigil = self.by_task.get(answer.task)
        if vigil is not None:
            vigil.heard(answer)

    def audited(self, record: RecordAudit) -> None:
        vigil = self.by_task.get(record.task)
        if vigil is not None:
            vigil.audited(record)
