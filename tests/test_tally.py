"""Counting: from the events and effects of a hop to its numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import __version__, metrics
from cascade.books import books
from cascade.inference.effects import Park, RecordAudit, RecordDecision, RecordUndecided, Reply, RunStage
from cascade.inference.events import (
    Asked,
    BadSample,
    Evicted,
    Kept,
    LadderInstalled,
    LinkLost,
    LinkUp,
    PeerFaulted,
    Predicted,
    Received,
    RunFailed,
    Sent,
    Ticked,
    Unsendable,
)
from cascade.messages import Answer, ClassScores, Decision, Energy, Outcome, Question, Verdict
from cascade.metrics import Reading, Row
from cascade.release.ladder import Ladder
from cascade.series import MAX_LABEL, MAX_STRANGE_TASKS
from cascade.tally import Tally

NOW = 100.0


def question(id_: str = "q1", task: str = "word", **more) -> Question:
    said = {"device": "barn.mic1", "stream": "kitchen", "sequence": 1, "release": "r1", "payload": (), "ms_left": 500.0}
    return Question(id=id_, task=task, **{**said, **more})


def answer(to: Question, outcome: Outcome = Outcome.ANSWERED, tier: str = "edge", **more) -> Answer:
    return Answer(
        id=to.id,
        device=to.device,
        digest=to.digest,
        stream=to.stream,
        sequence=to.sequence,
        task=to.task,
        release=to.release,
        outcome=outcome,
        reason=more.pop("reason", "sure"),
        tier=tier,
        **more,
    )


def reply(to: Question, *args, **more) -> Reply:
    return Reply("here", answer(to, *args, **more))


def decided(of: Question, verdict: Verdict, reason: str = "sure", confidence: float | None = 0.95, label: str = "yes"):
    return RecordDecision(of, Decision(verdict, reason, confidence, 0.9), "small", label)


@pytest.fixture
def tally() -> Tally:
    return Tally("edge")


def readings(tally: Tally, row: Row, **labels: str) -> list[Reading]:
    names = row.labels
    return [
        reading
        for reading in tally.snapshot()
        if reading.row is row and labels.items() <= dict(zip(names, reading.labels, strict=True)).items()
    ]


def total(tally: Tally, row: Row, **labels: str) -> float:
    return sum(reading.value for reading in readings(tally, row, **labels))


def escalation_rate(tally: Tally, task: str = "word") -> float:
    climbed = total(tally, metrics.QUESTIONS, task=task, verdict="climb")
    return climbed / total(tally, metrics.QUESTIONS, task=task)


@pytest.mark.parametrize(("climbing", "rate"), [(0, 0.0), (5, 0.5), (10, 1.0)])
def test_the_escalation_rate_is_right_when_nothing_half_or_everything_climbs(tally, climbing, rate):
    for i in range(10):
        asked = question(f"q{i}")
        tally.observe(Asked(asked, "here"), [], NOW)
        tally.observe(Ticked(), [decided(asked, Verdict.CLIMB if i < climbing else Verdict.ANSWER)], NOW)
    assert escalation_rate(tally) == rate


def test_every_verdict_of_an_installed_task_has_a_series_before_the_first_question(tally):
    tally.observe(LadderInstalled(Ladder(task="word", release="r1")), [], NOW)
    verdicts = {reading.labels[2] for reading in readings(tally, metrics.QUESTIONS, task="word")}
    assert verdicts == {"answer", "climb", "drop"}
    assert total(tally, metrics.QUESTIONS) == 0


def test_a_question_asked_twice_is_counted_once_and_both_askers_answers_are_one_answer(tally):
    tally.observe(Asked(question(), "here"), [], NOW)
    tally.observe(Asked(question(), "there"), [], NOW)
    tally.observe(Ticked(), [reply(question()), Reply("there", answer(question()))], NOW)
    assert total(tally, metrics.ASKED) == 1
    assert total(tally, metrics.ANSWERS) == 1
    assert total(tally, metrics.REPEATS) == 1


def test_an_answer_from_memory_is_a_repeat_and_not_one_more_question(tally):
    earlier = answer(question())
    tally.observe(Asked(question(), "here", earlier=earlier), [Reply("here", earlier)], NOW)
    assert total(tally, metrics.ASKED) == 0
    assert total(tally, metrics.REPEATS) == 1


def test_questions_of_one_id_and_other_payloads_are_two(tally):
    tally.observe(Asked(question(digest=b"a"), "here"), [], NOW)
    tally.observe(Asked(question(digest=b"b"), "here"), [], NOW)
    assert total(tally, metrics.OPEN) == 2


def test_a_provisional_answer_and_its_correction_are_two_answers_of_one_question(tally):
    tally.observe(Asked(question(), "here"), [], NOW)
    for _ in range(2):
        tally.observe(Ticked(), [reply(question(), provisional=True)], NOW + 0.5)
    tally.observe(Ticked(), [reply(question(), tier="cloud", correction=True)], NOW + 7)
    assert total(tally, metrics.ANSWERS, given="provisional") == 1
    assert total(tally, metrics.ANSWERS, given="correction", by="cloud") == 1
    assert books(tally.snapshot()).answered == 1
    assert books(tally.snapshot()).balanced


def test_latency_runs_from_the_question_to_its_answer(tally):
    tally.observe(Asked(question(), "here"), [], NOW)
    tally.observe(Ticked(), [reply(question())], NOW + 0.02)
    (reading,) = readings(tally, metrics.LATENCY)
    assert reading.labels == ("edge", "word", "edge", "final")
    assert reading.value == pytest.approx(0.02)
    bounds = dict(zip(metrics.LATENCY.buckets, reading.buckets, strict=False))
    assert (bounds[0.01], bounds[0.025], reading.buckets[-1]) == (0, 1, 1)


def test_latency_of_a_restored_question_includes_its_age(tally):
    tally.observe(Asked(question(age_ms=3000.0), "here", restored=True), [], NOW)
    tally.observe(Ticked(), [reply(question())], NOW + 1)
    assert readings(tally, metrics.LATENCY)[0].value == pytest.approx(4.0)
    assert total(tally, metrics.ASKED, origin="restored") == 1


def test_a_clock_that_jumped_back_spoils_no_sum(tally):
    tally.observe(Asked(question(), "here"), [], NOW)
    tally.observe(Ticked(), [reply(question())], NOW - 50)
    assert total(tally, metrics.ANSWERS) == 1
    assert readings(tally, metrics.LATENCY) == []


def test_audits_from_below_are_answered_but_neither_decided_nor_escalated(tally):
    audit = question(audit=True)
    tally.observe(Asked(audit, "here"), [], NOW)
    tally.observe(Ticked(), [decided(audit, Verdict.CLIMB), reply(audit)], NOW)
    assert total(tally, metrics.QUESTIONS) == 0
    assert total(tally, metrics.ANSWERS, given="audit") == 1
    assert books(tally.snapshot()).balanced


def test_what_ends_without_an_answer_says_why(tally):
    for i, outcome in enumerate((Outcome.DROPPED, Outcome.EXPIRED, Outcome.REFUSED)):
        asked = question(f"q{i}")
        tally.observe(Asked(asked, "here"), [], NOW)
        tally.observe(Ticked(), [reply(asked, outcome, tier="", reason=f"why{i}")], NOW)
    assert books(tally.snapshot())[:5] == (3, 0, 1, 1, 1)
    assert total(tally, metrics.UNANSWERED, outcome="expired", reason="why1") == 1
    assert total(tally, metrics.ANSWERS, by="none") == 3


def test_one_that_is_turned_away_at_once_is_in_the_books(tally):
    undecided = RecordUndecided(question(), Outcome.REFUSED, "overloaded")
    tally.observe(Asked(question(), "here"), [undecided, reply(question(), Outcome.REFUSED, tier="")], NOW)
    assert total(tally, metrics.UNDECIDED, reason="overloaded") == 1
    assert books(tally.snapshot()) == (1, 0, 0, 0, 1, 0, 0)


def test_a_parked_question_is_in_the_books_when_it_leaves_when_it_comes_back_and_when_it_is_given_up(tally):
    tally.observe(Asked(question(), "here"), [reply(question(), provisional=True)], NOW)
    tally.observe(Ticked(), [Park(question().key)], NOW)
    assert (books(tally.snapshot()).open, books(tally.snapshot()).balanced) == (0, True)
    tally.observe(Asked(question(), "here", restored=True), [Park(question().key)], NOW)
    assert (books(tally.snapshot()).parked, books(tally.snapshot()).balanced) == (2, True)
    tally.observe(Evicted(question(), "here", "full"), [reply(question(), Outcome.REFUSED, tier="")], NOW)
    assert (books(tally.snapshot()).refused, books(tally.snapshot()).balanced) == (1, True)
    assert total(tally, metrics.EVICTED, reason="full") == 1


def test_a_run_is_counted_under_its_stage_with_time_batch_and_joules(tally):
    questions = (question("a"), question("b"), question("c"))
    tally.observe(Ticked(), [RunStage(7, "word", "r1", "small", questions)], NOW)
    results = (ClassScores((1.0,)), BadSample("shape"), ClassScores((1.0,)))
    tally.observe(Predicted(7, results, 12.0, 0.5, Energy.MEASURED), [], NOW)
    assert readings(tally, metrics.STAGE_TIME)[0].value == pytest.approx(0.012)
    assert readings(tally, metrics.STAGE_BATCH)[0].value == 3
    assert total(tally, metrics.JOULES, stage="small", source="measured") == 0.5
    assert total(tally, metrics.BAD_INPUTS, stage="small") == 1


def test_joules_of_nobody_knows_where_from_are_shown_as_unknown(tally):
    tally.observe(Ticked(), [RunStage(7, "word", "r1", "small", (question(),))], NOW)
    tally.observe(Predicted(7, (ClassScores((1.0,)),), 12.0), [], NOW)
    assert [reading.labels[-1] for reading in readings(tally, metrics.JOULES)] == ["unknown"]


@pytest.mark.parametrize("joules", [math.nan, math.inf, -1.0])
def test_a_broken_meter_spoils_no_counter(tally, joules):
    for run in (1, 2):
        tally.observe(Ticked(), [RunStage(run, "word", "r1", "small", (question(),))], NOW)
        amount = joules if run == 1 else 2.0
        tally.observe(Predicted(run, (ClassScores((1.0,)),), 1.0, amount, Energy.MEASURED), [], NOW)
    assert total(tally, metrics.JOULES) == 2.0


def test_failed_runs_are_counted_by_stage_and_reason(tally):
    tally.observe(Ticked(), [RunStage(7, "word", "r1", "small", (question(),))], NOW)
    tally.observe(RunFailed(7, "out_of_memory"), [], NOW)
    assert total(tally, metrics.STAGE_FAILURES, stage="small", reason="out_of_memory") == 1


def test_bytes_messages_and_questions_are_counted_by_link_and_direction(tally):
    tally.observe(Sent("above", 900, (question("a").key, question("b").key)), [], NOW)
    tally.observe(Received("above", 70), [], NOW)
    tally.observe(Sent("below", 30), [], NOW)
    assert total(tally, metrics.LINK_BYTES, link="above", direction="sent") == 900
    assert total(tally, metrics.LINK_BYTES, direction="received") == 70
    assert total(tally, metrics.LINK_MESSAGES) == 3
    assert total(tally, metrics.LINK_QUESTIONS, link="above") == 2


def test_the_link_is_down_until_it_is_proved_and_after_it_was_lost(tally):
    assert total(tally, metrics.LINK_UP) == 0
    tally.observe(LinkUp(), [], NOW)
    assert total(tally, metrics.LINK_UP) == 1
    tally.observe(LinkLost("silent"), [], NOW)
    assert total(tally, metrics.LINK_UP) == 0
    assert total(tally, metrics.LINK_LOSSES, reason="silent") == 1


def test_a_fault_of_no_known_kind_is_other(tally):
    tally.observe(PeerFaulted("barn.cam1", "size"), [], NOW)
    tally.observe(PeerFaulted("barn.cam1", "'; DROP TABLE"), [], NOW)
    assert {reading.labels[1] for reading in readings(tally, metrics.PEER_FAULTS)} == {"size", "other"}


def test_audits_are_counted_as_they_are_and_by_how_many_they_stand_for(tally):
    for agreed in (True, True, False, None):
        tally.observe(Ticked(), [RecordAudit("word", "answer", 0.02, agreed)], NOW)
    assert total(tally, metrics.AUDITS, agreed="yes") == 2
    assert total(tally, metrics.AUDIT_WEIGHT, agreed="yes") == pytest.approx(100)
    assert total(tally, metrics.AUDIT_WEIGHT, agreed="unknown") == pytest.approx(50)


def test_an_audit_without_a_probability_weighs_nothing(tally):
    tally.observe(Ticked(), [RecordAudit("word", "answer", 0.0, True)], NOW)
    assert (total(tally, metrics.AUDITS), total(tally, metrics.AUDIT_WEIGHT)) == (1, 0)


def test_weighted_audits_estimate_agreement_where_the_probability_changed_on_the_way(tally):
    # 1,000 questions at 90 % agreement audited one in ten, then 1,000 at 50 % audited one in two: 70 % agree.
    for probability, yes, no in ((0.1, 90, 10), (0.5, 250, 250)):
        for agreed, times in ((True, yes), (False, no)):
            for _ in range(times):
                tally.observe(Ticked(), [RecordAudit("word", "answer", probability, agreed)], NOW)
    agreeing = total(tally, metrics.AUDIT_WEIGHT, agreed="yes")
    assert agreeing / total(tally, metrics.AUDIT_WEIGHT) == pytest.approx(0.7)


def test_confidence_is_kept_by_stage_and_class(tally):
    tally.observe(Ticked(), [decided(question(), Verdict.ANSWER, confidence=0.95, label="yes")], NOW)
    tally.observe(Ticked(), [decided(question("b"), Verdict.CLIMB, confidence=None)], NOW)
    (reading,) = readings(tally, metrics.CONFIDENCE)
    assert (reading.labels, reading.buckets[-1]) == (("edge", "word", "small", "yes"), 1)


def test_what_was_not_durable_or_not_sendable_is_counted(tally):
    tally.observe(Kept(question().key, durable=False), [], NOW)
    tally.observe(Kept(question().key), [], NOW)
    tally.observe(Unsendable(question().key, "too_large"), [], NOW)
    assert total(tally, metrics.NOT_DURABLE) == 1
    assert total(tally, metrics.UNSENDABLE, reason="too_large") == 1


def test_the_present_release_of_a_task_is_shown_and_the_one_before_is_not(tally):
    for release in ("r1", "r2"):
        tally.observe(LadderInstalled(Ladder(task="word", release=release)), [], NOW)
    assert [reading.labels for reading in readings(tally, metrics.RELEASE)] == [("edge", "word", "r2")]
    assert readings(tally, metrics.RUNTIME)[0].labels == ("edge", __version__)


def test_a_gauge_of_the_shell_is_read_at_each_snapshot(tally):
    depth = iter((3, 4))
    tally.gauge("cascade_spool_questions", (), lambda: next(depth))
    assert total(tally, metrics.SPOOL_QUESTIONS) == 3
    assert total(tally, metrics.SPOOL_QUESTIONS) == 4


def test_a_gauge_that_breaks_hides_no_other_metric(tally):
    tally.gauge(metrics.SPOOL_BYTES, (), lambda: 1 / 0)
    assert readings(tally, metrics.SPOOL_BYTES) == []
    assert total(tally, metrics.BROKEN, metric="cascade_spool_bytes") > 0
    assert readings(tally, metrics.RUNTIME)


def test_what_no_event_says_is_added_by_the_shell(tally):
    tally.count(metrics.RADIO, ("above", "estimated"), 0.25)
    tally.count(metrics.RADIO, ("above", "estimated"), math.nan)
    assert total(tally, metrics.RADIO, link="above", source="estimated") == 0.25


def test_no_metric_has_more_series_than_allowed_and_the_rest_is_other_and_counted():
    tally = Tally("edge", max_series=20)
    for i in range(100):
        tally.observe(Ticked(), [decided(question(), Verdict.CLIMB, reason=f"r{i}")], NOW)
    assert total(tally, metrics.QUESTIONS, reason="other", verdict="climb") == 80
    assert total(tally, metrics.OVERFLOW, metric="cascade_questions_total") == 80
    assert escalation_rate(tally) == 1.0


def test_past_the_cap_the_books_still_balance():
    tally = Tally("edge", max_series=3)
    for i in range(60):
        asked = question(f"q{i}", task=f"t{i % 20}")
        tally.observe(Asked(asked, "here"), [], NOW)
        if i % 3:
            outcome = Outcome.REFUSED if i % 2 else Outcome.ANSWERED
            tally.observe(Ticked(), [reply(asked, outcome)], NOW)
    assert books(tally.snapshot()).balanced
    assert books(tally.snapshot()).open == 20


def test_a_flood_of_invented_tasks_takes_no_series_from_the_installed_ones():
    tally = Tally("fog", max_series=1000)
    for i in range(5000):
        asked = question(f"q{i}", task=f"invented{i}")
        tally.observe(Asked(asked, "here"), [decided(asked, Verdict.CLIMB), reply(asked, tier="cloud")], NOW)
    tally.observe(LadderInstalled(Ladder(task="word", release="r1")), [], NOW)
    tally.observe(Asked(question(), "here"), [decided(question(), Verdict.CLIMB)], NOW)
    assert total(tally, metrics.QUESTIONS, task="word") == 1
    assert len({reading.labels[1] for reading in readings(tally, metrics.QUESTIONS)}) == MAX_STRANGE_TASKS + 2
    assert len(tally.snapshot()) < 20 * MAX_STRANGE_TASKS


def test_label_values_are_short_and_printable(tally):
    tally.observe(LinkLost("x" * 1000 + "\n"), [], NOW)
    tally.observe(LinkLost("a\nb\ud800"), [], NOW)
    reasons = {reading.labels[1] for reading in readings(tally, metrics.LINK_LOSSES)}
    assert reasons == {"x" * MAX_LABEL, "a?b?"}


def test_open_questions_past_the_bound_are_lost_sight_of_and_counted():
    tally = Tally("edge", max_open=100)
    for i in range(1000):
        tally.observe(Asked(question(f"q{i}"), "here"), [], NOW)
    assert total(tally, metrics.OPEN) <= 100
    assert total(tally, metrics.OPEN) + total(tally, metrics.UNTRACKED) == 1000


def test_runs_that_never_end_are_forgotten(tally):
    for run in range(10_000):
        tally.observe(Ticked(), [RunStage(run, "word", "r1", "small", ())], NOW)
    assert len(tally._runs) <= 4096


words = st.sampled_from(["", "word", "x" * 500, "a\nb", "\ud800", "other", 'say "no"\\'])
numbers = st.floats() | st.sampled_from([0.0, -1.0, 1e308])
questions = st.builds(
    question, id_=st.sampled_from("abc"), task=words, digest=st.binary(max_size=1), audit=st.booleans(), age_ms=numbers
)
events = st.one_of(
    st.builds(Asked, questions, words, restored=st.booleans()),
    st.builds(Evicted, questions, words, words),
    st.builds(Kept, questions.map(lambda q: q.key), st.booleans()),
    st.builds(
        Predicted,
        st.integers(0, 3),
        st.lists(st.just(ClassScores((math.nan,))) | st.builds(BadSample, words)).map(tuple),
        numbers,
        numbers,
        st.sampled_from(Energy),
    ),
    st.builds(RunFailed, st.integers(0, 3), words),
    st.builds(Sent, words, st.integers(0, 2**70), st.just(())),
    st.builds(Received, words, st.integers(0, 2**70)),
    st.builds(Unsendable, questions.map(lambda q: q.key), words),
    st.builds(LinkUp),
    st.builds(LinkLost, words),
    st.builds(PeerFaulted, words, words, words),
    st.builds(LadderInstalled, st.builds(Ladder, task=words, release=words)),
    st.builds(Ticked),
)
effects = st.one_of(
    st.builds(RunStage, st.integers(0, 3), words, words, words, st.just(())),
    st.builds(
        reply,
        questions,
        st.sampled_from(Outcome),
        words,
        provisional=st.booleans(),
        correction=st.booleans(),
        reason=words,
    ),
    st.builds(Park, questions.map(lambda q: q.key)),
    st.builds(
        RecordDecision,
        questions,
        st.builds(Decision, st.sampled_from(Verdict), words, numbers | st.none()),
        words,
        words,
    ),
    st.builds(RecordUndecided, questions, st.sampled_from(Outcome), words),
    st.builds(RecordAudit, words, words, numbers, st.booleans() | st.none()),
)


@given(st.lists(st.tuples(events, st.lists(effects, max_size=4), numbers), max_size=40))
def test_nothing_that_happens_in_any_order_raises_spoils_a_number_or_unbalances_the_books(calls):
    tally = Tally("edge", max_series=8, max_open=1000)
    for event, wanted, now in calls:
        tally.observe(event, wanted, now)
    snapshot = tally.snapshot()
    assert books(snapshot).balanced
    assert all(0.0 <= reading.value < math.inf for reading in snapshot)
    assert all(list(reading.buckets) == sorted(reading.buckets) for reading in snapshot)
    names = [(reading.row, reading.labels) for reading in snapshot]
    assert len(set(names)) == len(names)


def test_agreement_is_shown_with_its_limits_and_its_coverage():
    tally = Tally("edge")
    for agreed in (True, True, True, False, None):
        tally.observe(Ticked(), [RecordAudit("word", "answer", 0.02, agreed)], NOW)
    shown = {reading.labels: reading.value for reading in tally.snapshot() if reading.row is metrics.AGREEMENT}
    low, found, high = (shown["edge", "word", bound] for bound in ("low", "estimate", "high"))
    assert low < found < high
    assert found == pytest.approx(0.75, abs=0.01)
    (coverage,) = [reading.value for reading in tally.snapshot() if reading.row is metrics.AUDIT_COVERAGE]
    assert coverage == pytest.approx(0.8, abs=0.01)
