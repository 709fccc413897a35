"""Everything that a hop's metrics say is counted here, from the events that went in and the effects that came out.

The shell calls `observe` once per call of the machine, and that is all: nothing else in the runtime counts. What a hop
can't know (the spool's size, a radio's joules) the shell adds with `gauge` and `count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from cascade import __version__, metrics
from cascade.inference import effects as wanted
from cascade.inference import events as happened
from cascade.inference.agreement import Agreements
from cascade.inference.effects import Effect
from cascade.inference.events import Event
from cascade.messages import Answer, Outcome, Question, Verdict
from cascade.metrics import NONE, ROWS, Reading, Row
from cascade.series import ABSURD, Labels, Shelves, kept, shown

KeyParts = tuple[str, str, bytes]
"""A plain tuple in place of `Key`: a quarter of the time to make, and equal to it."""

MAX_RUNS = 4096
_STANDING_ROWS = (metrics.STANDING, metrics.DOUBT, metrics.CAUTION, metrics.DISTANCE)
_PLACES = {row: place for place, row in enumerate(ROWS)}


class Tally:
    """The counters of one hop. One thread counts; `snapshot` may be called from any."""

    def __init__(self, tier: str, *, max_series: int = 1000, max_open: int = 65_536) -> None:
        self.tier = tier
        self._max_open = max_open
        self._open: dict[KeyParts, float] = {}
        """When each open question was asked."""
        self._marks: dict[KeyParts, str] = {}
        """The few open ones that are audits, or had a provisional answer."""
        self._runs: dict[int, Labels] = {}
        self._releases: dict[str, str] = {}
        self._link_up = 0.0
        self._agreements = Agreements()
        self._standing: dict[Row, dict[Labels, float]] = {row: {} for row in _STANDING_ROWS}
        self._shelves = Shelves(tier, max_series)
        self._counts = self._shelves.counts
        self._spreads = self._shelves.spreads
        self.gauge = self._shelves.gauge
        """`gauge(row or name, labels without the tier, read)`: read at each snapshot, on the thread that takes it."""
        self._handlers = self._bound()

    def _bound(self) -> dict[type, Callable[[Any, float], None]]:
        """Who counts what; and what the hot path needs, one look-up away.

        The busiest counters are added to in place: a call costs as much as the sum. `_value_` for the same reason: a
        member of an enumeration takes as long to hash as three plain strings.
        """
        self._asked_values = self._counts[metrics.ASKED].values
        self._answers = self._counts[metrics.ANSWERS].values
        self._questions = self._counts[metrics.QUESTIONS].values
        self._observe_latency = self._spreads[metrics.LATENCY].observe
        self._observe_confidence = self._spreads[metrics.CONFIDENCE].observe
        return {
            happened.Asked: self._asked,
            happened.Evicted: self._evicted,
            happened.Kept: self._kept,
            happened.Predicted: self._predicted,
            happened.RunFailed: self._run_failed,
            happened.Sent: self._sent,
            happened.Received: self._received,
            happened.Unsendable: self._unsendable,
            happened.LinkUp: self._linked,
            happened.LinkLost: self._link_lost,
            happened.PeerFaulted: self._peer_faulted,
            happened.LadderInstalled: self._ladder_installed,
            wanted.RunStage: self._run_stage,
            wanted.Reply: self._reply,
            wanted.Park: self._park,
            wanted.RecordDecision: self._decided,
            wanted.RecordUndecided: self._undecided,
            wanted.RecordAudit: self._audit,
            wanted.RecordStanding: self._stands,
            wanted.RecordDistances: self._distant,
        }

    def observe(self, event: Event, effects: Iterable[Effect], now: float) -> None:
        """Count one call of the machine. Never raises, whatever the words in it say."""
        handlers = self._handlers
        handler = handlers.get(type(event))
        if handler is not None:
            handler(event, now)
        for effect in effects:
            handler = handlers.get(type(effect))
            if handler is not None:
                handler(effect, now)

    def count(self, row: Row, labels: Labels = (), amount: float = 1) -> None:
        """Add to a counter of the table what no event says. Labels without the tier."""
        if 0.0 <= amount < ABSURD:
            self._counts[row].add(labels, amount)

    def snapshot(self) -> list[Reading]:
        """What every series says now, in the order of the table."""
        return sorted((*self._own_gauges(), *self._shelves.readings()), key=lambda reading: _PLACES[reading.row])

    # Events

    def _asked(self, event: happened.Asked, now: float) -> None:
        if event.earlier is not None:
            return
        question, open_ones = event.question, self._open
        before = len(open_ones)
        if event.restored:
            open_ones.setdefault((question.device, question.id, question.digest), now - question.age_ms / 1000.0)
        else:
            open_ones.setdefault((question.device, question.id, question.digest), now)
        if len(open_ones) > before:
            self._opened(question, "restored" if event.restored else "audit" if question.audit else "new")

    def _opened(self, question: Question, origin: str) -> None:
        labels = (question.task, origin)
        try:
            self._asked_values[labels] += 1
        except KeyError:
            self._begin(question.task)
            self._counts[metrics.ASKED].add(labels)
        if question.audit:
            self._marks[question.device, question.id, question.digest] = "audit"
        if len(self._open) > self._max_open:
            self._lose_sight()

    def _begin(self, task: str) -> None:
        """Start at nought: of a counter that appears with its first event, PromQL sees neither it nor a rate of 0."""
        for verdict in Verdict:
            self._counts[metrics.QUESTIONS].add((task, verdict.value, NONE), 0)
        for origin in ("new", "restored", "audit"):
            self._counts[metrics.ASKED].add((task, origin), 0)

    def _lose_sight(self) -> None:
        """Many at a time: the first key of a dictionary gets slow to find where the ones before it were deleted."""
        oldest = list(islice(self._open, max(1, self._max_open // 16)))
        for key in oldest:
            del self._open[key]
            self._marks.pop(key, None)
        self._counts[metrics.UNTRACKED].add((), len(oldest))

    def _evicted(self, event: happened.Evicted, now: float) -> None:
        question = event.question
        self._counts[metrics.EVICTED].add((question.task, event.reason))
        key = (question.device, question.id, question.digest)
        if key not in self._open:  # It was on disk alone, and is answered now: for the books it came back first.
            self._open[key] = now
            self._opened(question, "restored")

    def _kept(self, event: happened.Kept, now: float) -> None:
        if not event.durable:
            self._counts[metrics.NOT_DURABLE].add(())

    def _predicted(self, event: happened.Predicted, now: float) -> None:
        stage = self._runs.pop(event.run, None)
        if stage is None:
            return
        self._spreads[metrics.STAGE_TIME].observe(stage, event.ms / 1000.0)
        self._spreads[metrics.STAGE_BATCH].observe(stage, len(event.results))
        self.count(metrics.JOULES, (*stage, event.energy), event.joules)
        for result in event.results:
            if type(result) is happened.BadSample:
                self._counts[metrics.BAD_INPUTS].add(stage)

    def _run_failed(self, event: happened.RunFailed, now: float) -> None:
        stage = self._runs.pop(event.run, None)
        if stage is not None:
            self._counts[metrics.STAGE_FAILURES].add((*stage, event.reason))

    def _sent(self, event: happened.Sent, now: float) -> None:
        self._moved((event.link, "sent"), event.bytes)
        if event.questions:
            self._counts[metrics.LINK_QUESTIONS].add((event.link,), len(event.questions))

    def _received(self, event: happened.Received, now: float) -> None:
        self._moved((event.link, "received"), event.bytes)

    def _moved(self, labels: Labels, size: int) -> None:
        self.count(metrics.LINK_BYTES, labels, size)
        self._counts[metrics.LINK_MESSAGES].add(labels)

    def _unsendable(self, event: happened.Unsendable, now: float) -> None:
        self._counts[metrics.UNSENDABLE].add((event.reason,))

    def _linked(self, event: happened.LinkUp, now: float) -> None:
        self._link_up = 1.0

    def _link_lost(self, event: happened.LinkLost, now: float) -> None:
        self._link_up = 0.0
        self._counts[metrics.LINK_LOSSES].add((event.reason,))

    def _peer_faulted(self, event: happened.PeerFaulted, now: float) -> None:
        self._counts[metrics.PEER_FAULTS].add((event.kind,))

    def _ladder_installed(self, event: happened.LadderInstalled, now: float) -> None:
        self._shelves.tasks.install(event.ladder.task)
        self._begin(event.ladder.task)
        self._releases[event.ladder.task] = event.ladder.release

    # Effects

    def _run_stage(self, effect: wanted.RunStage, now: float) -> None:
        self._runs[effect.run] = (effect.task, effect.stage)
        if len(self._runs) > MAX_RUNS:
            del self._runs[next(iter(self._runs))]

    def _reply(self, effect: wanted.Reply, now: float) -> None:
        answer = effect.answer
        key = (answer.device, answer.id, answer.digest)
        if answer.provisional:
            self._provisional(answer, key, now)
            return
        asked_at = self._open.pop(key, None)
        if asked_at is None:
            self._counts[metrics.REPEATS].add((answer.task,))
            return
        given = "correction" if answer.correction else "final"
        if self._marks and self._marks.pop(key, None) == "audit":
            given = "audit"
        if answer.outcome is not Outcome.ANSWERED:
            self._counts[metrics.UNANSWERED].add((answer.task, answer.outcome, answer.reason))
        self._answered(answer, given, now - asked_at)

    def _provisional(self, answer: Answer, key: KeyParts, now: float) -> None:
        """The first one counts; of an audit, none does."""
        asked_at = self._open.get(key)
        if asked_at is None:
            self._counts[metrics.REPEATS].add((answer.task,))
        elif key not in self._marks:
            self._marks[key] = "provisional"
            self._answered(answer, "provisional", now - asked_at)

    def _answered(self, answer: Answer, given: str, seconds: float) -> None:
        if answer.reason in metrics.GUESSED:
            self._counts[metrics.GUESSES].add((answer.task, answer.reason))
        by = answer.tier or NONE
        labels = (answer.task, answer.outcome._value_, by, given)
        try:
            self._answers[labels] += 1
        except KeyError:
            self._counts[metrics.ANSWERS].add(labels)
        self._observe_latency((answer.task, by, given), seconds)

    def _park(self, effect: wanted.Park, now: float) -> None:
        if self._open.pop(effect.key, None) is not None:
            self._marks.pop(effect.key, None)
            self._counts[metrics.PARKED].add(())

    def _decided(self, effect: wanted.RecordDecision, now: float) -> None:
        question, decision = effect.question, effect.decision
        if question.audit:
            return
        labels = (question.task, decision.verdict._value_, decision.reason)
        try:
            self._questions[labels] += 1
        except KeyError:
            self._counts[metrics.QUESTIONS].add(labels)
        if decision.confidence is not None:
            self._observe_confidence((question.task, effect.stage, effect.label), decision.confidence)

    def _undecided(self, effect: wanted.RecordUndecided, now: float) -> None:
        if not effect.question.audit:
            self._counts[metrics.UNDECIDED].add((effect.question.task, effect.outcome, effect.reason))

    def _audit(self, effect: wanted.RecordAudit, now: float) -> None:
        agreed = "unknown" if effect.agreed is None else "yes" if effect.agreed else "no"
        labels = (effect.task, effect.verdict, agreed)
        self._counts[metrics.AUDITS].add(labels)
        if 0.0 < effect.probability <= 1.0:
            self.count(metrics.AUDIT_WEIGHT, labels, 1.0 / effect.probability)
            self._agreements.note(effect)

    def _stands(self, effect: wanted.RecordStanding, now: float) -> None:
        task = shown(effect.task)
        for row, said in ((metrics.STANDING, {effect.standing}), (metrics.DOUBT, set(effect.doubts))):
            values = self._standing[row]
            for labels in values:
                if labels[0] == task:
                    values[labels] = 0.0
            values.update({(task, each): 1.0 for each in said})
        self._standing[metrics.CAUTION][(task,)] = effect.caution

    def _distant(self, effect: wanted.RecordDistances, now: float) -> None:
        values = self._standing[metrics.DISTANCE]
        values.update({(shown(effect.task), name): value for name, value in effect.distances.items()})

    # Readings

    def _own_gauges(self) -> Iterator[Reading]:
        yield Reading(metrics.RUNTIME, (self.tier, __version__), 1.0)
        yield Reading(metrics.OPEN, (self.tier,), len(self._open))
        yield Reading(metrics.LINK_UP, (self.tier, "above"), self._link_up)
        for task, release in self._releases.copy().items():
            yield Reading(metrics.RELEASE, (self.tier, *kept(("task", "release"), (task, release))), 1.0)
        yield from self._agreement()
        for row, values in self._standing.items():
            for labels, value in values.copy().items():
                yield Reading(row, (self.tier, *labels), value)

    def _agreement(self) -> Iterator[Reading]:
        for task, said in self._agreements.said().items():
            labels = (self.tier, shown(task))
            yield Reading(metrics.AUDIT_COVERAGE, labels, said.coverage)
            if said.agreement is not None:
                found = said.agreement
                for bound, share in (("estimate", found.share), ("low", found.low), ("high", found.high)):
                    yield Reading(metrics.AGREEMENT, (*labels, bound), share)
