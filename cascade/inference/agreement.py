"""Agreement with the hop above, estimated from audits, and how far the audits can be trusted to say it.

Of what a hop settles, chance chooses a share to be asked above as well. Each audit stands for 1/probability questions.
Some get no answer: outages and budgets censor them, and nobody knows what they would have said. So an estimate comes
with its coverage, the share of those chosen that could be compared, and with what it would be at worst: all censored
ones counted against it. Agreement is not accuracy: two models may be wrong together.
"""

from __future__ import annotations

from cascade.inference.effects import RecordAudit
from cascade.inference.shares import Estimated, RunningShare
from cascade.messages import Word

REMEMBERS = 250.0
"""Audits after which one counts e times less. The interval is as narrow as that of twice as many plain cases."""
MOST_TASKS = 64
"""Tasks whose audits are kept apart. Those of a device are its settings'; those of a gateway its devices' to choose."""


class Agreed(Word, frozen=True, gc=False, kw_only=True):
    """What audits of one task say."""

    agreement: Estimated | None
    """Of answers and drops together. None: none could be compared yet."""
    by_verdict: dict[str, Estimated]
    """Of answers and of drops alone."""
    coverage: float
    """Share of the audits that could be compared, each by what it stands for."""
    audits: int
    """Chosen since the hop began."""
    compared: int

    @property
    def at_worst(self) -> float | None:
        """The lower limit if none of those that were not compared had agreed."""
        return None if self.agreement is None else self.agreement.low * self.coverage

    @property
    def at_best(self) -> float | None:
        """The upper limit if all of them had."""
        return None if self.agreement is None else 1.0 - (1.0 - self.agreement.high) * self.coverage


class Agreement:
    """The audits of one task."""

    def __init__(self, remembers: float = REMEMBERS) -> None:
        self._remembers = remembers
        self._all = RunningShare(remembers)
        self._by_verdict: dict[str, RunningShare] = {}
        self._compared = RunningShare(remembers)

    def note(self, record: RecordAudit) -> None:
        """One audit has ended."""
        if not 0.0 < record.probability <= 1.0:
            return
        weight = 1.0 / record.probability
        self._compared.add(record.agreed is not None, weight)
        if record.agreed is None:
            return
        self._all.add(record.agreed, weight)
        of_verdict = self._by_verdict.get(record.verdict)
        if of_verdict is None:
            of_verdict = self._by_verdict[record.verdict] = RunningShare(self._remembers)
        of_verdict.add(record.agreed, weight)

    def said(self) -> Agreed | None:
        """None: nothing was audited yet."""
        covered = self._compared.estimated()
        if covered is None:
            return None
        by_verdict = {verdict: said for verdict, each in self._by_verdict.items() if (said := each.estimated())}
        return Agreed(
            agreement=self._all.estimated(),
            by_verdict=by_verdict,
            coverage=covered.share,
            audits=self._compared.seen,
            compared=self._all.seen,
        )


class Agreements:
    """By task."""

    def __init__(self, remembers: float = REMEMBERS) -> None:
        self._remembers = remembers
        self._by_task: dict[str, Agreement] = {}

    def note(self, record: RecordAudit) -> None:
        of_task = self._by_task.get(record.task)
        if of_task is None:
            if len(self._by_task) >= MOST_TASKS:
                return
            of_task = self._by_task[record.task] = Agreement(self._remembers)
        of_task.note(record)

    def said(self) -> dict[str, Agreed]:
        return {task: said for task, each in self._by_task.copy().items() if (said := each.said()) is not None}
