"""What a hop does with the hop above: asking, late answers, dead links, budgets, audits, durability."""

from __future__ import annotations

import pytest

from cascade.inference.audit import Dice
from cascade.inference.budget import Allowance
from cascade.inference.effects import AskAbove, Keep, Park, RecordAudit, RecordDecision, Remember, Reply, RunStage
from cascade.inference.events import (
    Answered,
    Asked,
    Durability,
    Evicted,
    Kept,
    LinkLost,
    LinkUp,
    Remembered,
    Sent,
    Unsendable,
)
from cascade.inference.uplink import Uplink, UplinkSettings
from cascade.messages import Key, Outcome, Verdict

PATIENT = UplinkSettings(answer_within_s=5.0, ask_again_s=2.0, reserve_ms=20.0)


@pytest.fixture
def climbing(bench, make_stage, class_scores):
    """A device whose model was not sure of q1."""

    def make(uplink: UplinkSettings = PATIENT, *, up: bool = True, ask: dict | None = None, **settings):
        hop = bench(make_stage(), uplink=uplink, up=up, **settings)
        hop.ask(**(ask or {}))
        hop.effects = hop.predict(class_scores(2, 0.5))
        return hop

    return make


def test_what_it_is_not_sure_of_it_asks_above(climbing, the_only):
    effects = climbing(ask={"keep_ms": 5000.0}).effects
    asked = the_only(effects, AskAbove).question
    assert (asked.ms_left, asked.keep_ms) == (980.0, 5000.0)
    assert the_only(effects, RecordDecision).decision.verdict is Verdict.CLIMB


def test_the_answer_from_above_is_given_once_with_both_trails(climbing, the_only):
    hop = climbing()
    above = hop.answer_above(trail=())
    answer = the_only(hop.happen(Answered(above)), Reply).answer
    assert (answer.label, answer.tier, answer.provisional, answer.correction) == ("yes", "fog", False, False)
    assert [step.verdict for step in answer.trail] == [Verdict.CLIMB]
    assert hop.happen(Answered(above)) == []


def test_the_trail_tells_the_bytes_that_went_up(climbing, the_only):
    hop = climbing()
    hop.happen(Sent("above", 300, (hop.question().key,)))
    assert the_only(hop.happen(Answered(hop.answer_above())), Reply).answer.trail[0].bytes_up == 300


def test_a_dead_link_costs_accuracy_not_the_answer(climbing, the_only):
    answer = the_only(climbing(up=False).effects, Reply).answer
    assert (answer.label, answer.reason, answer.provisional) == ("no", "link_down", False)


def test_who_wants_corrections_is_told_a_provisional_answer_first(climbing, the_only):
    hop = climbing(up=False, ask={"keep_ms": 60_000.0})
    first = the_only(hop.effects, Reply).answer
    assert (first.label, first.provisional, first.reason) == ("no", True, "link_down")
    assert the_only(hop.happen(LinkUp()), AskAbove).question.id == "q1"
    second = the_only(hop.happen(Answered(hop.answer_above())), Reply).answer
    assert (second.label, second.provisional, second.correction) == ("yes", False, True)


def test_the_deadline_finds_an_answer_even_if_above_is_silent(climbing, the_only):
    hop = climbing()
    assert hop.hop.wakes_at == hop.now + 1.0
    answer = the_only(hop.tick(1.0), Reply).answer
    assert (answer.label, answer.reason, answer.provisional) == ("no", "deadline", False)


def test_without_any_prediction_the_deadline_expires_it(bench, the_only):
    hop = bench(uplink=PATIENT)
    hop.ask()
    answer = the_only(hop.tick(1.0), Reply).answer
    assert (answer.outcome, answer.prediction) == (Outcome.EXPIRED, None)


def test_a_late_answer_is_a_correction(climbing, the_only):
    hop = climbing(ask={"keep_ms": 60_000.0})
    assert the_only(hop.tick(1.0), Reply).answer.provisional
    assert the_only(hop.happen(Answered(hop.answer_above())), Reply).answer.correction


def test_when_no_correction_comes_the_provisional_answer_becomes_final(climbing, the_only):
    hop = climbing(ask={"keep_ms": 10_000.0})
    hop.tick(1.0)
    hop.tick(3.0)
    hop.now = 111.0
    answer = the_only(hop.tick(), Reply).answer
    assert (answer.reason, answer.provisional, answer.label) == ("gave_up", False, "no")


def test_a_hop_that_keeps_less_long_sends_the_question_back_to_be_asked_again(climbing, the_only):
    hop = climbing(ask={"keep_ms": 60_000.0}, max_keep_ms=5_000.0)
    hop.tick(1.0)
    hop.now = 106.0
    answer = the_only(hop.tick(), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, "not_kept_longer")
    assert answer.retry_ms is not None


def test_a_question_that_got_no_answer_is_asked_again(climbing, the_only):
    hop = climbing(ask={"keep_ms": 60_000.0})
    hop.tick(1.0)  # the deadline: the ask has failed
    again = [hop.tick(0.5) for _ in range(5)]
    assert [the_only(effects, AskAbove).question.id for effects in again if effects] == ["q1"]


def test_repeated_asks_are_a_bounded_share_of_first_ones(bench, make_stage, class_scores):
    uplink = UplinkSettings(failures_to_open=10_000, in_flight=1000, ask_again_s=1.0, ask_again_most_s=1.0)
    hop = bench(make_stage(), uplink=uplink)
    for number in range(100):
        hop.ask(f"q{number}", keep_ms=3_600_000.0)
    run = hop.tick()
    hop.seen.clear()
    from cascade.inference.events import Predicted

    for _ in range(2):
        runs = [effect for effect in run if isinstance(effect, RunStage)]
        for one in runs:
            hop.happen(Predicted(one.run, (class_scores(2, 0.5),) * len(one.questions)))
        run = hop.tick()
    for _ in range(200):
        hop.tick(0.1)
    asks = sum(isinstance(effect, AskAbove) for effect in hop.seen)
    assert 100 < asks <= 100 + 10 + 10


def test_after_failures_in_a_row_nobody_is_asked_for_a_while(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings(failures_to_open=2, cool_s=3.0))
    for number in range(2):
        hop.ask(f"q{number}")
        hop.predict(class_scores(2, 0.5))
        hop.tick(1.0)
    hop.ask("q9")
    assert the_only(hop.predict(class_scores(2, 0.5)), Reply).answer.reason == "breaker_open"
    hop.tick(3.0)
    hop.ask("probe")
    assert the_only(hop.predict(class_scores(2, 0.5)), AskAbove)
    hop.ask("other")
    assert the_only(hop.predict(class_scores(2, 0.5)), Reply).answer.reason == "breaker_open"
    hop.happen(Answered(hop.answer_above("probe")))
    hop.ask("after")
    assert the_only(hop.predict(class_scores(2, 0.5)), AskAbove)


def test_the_first_question_after_a_pause_is_the_probe(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings(failures_to_open=2, cool_s=3.0))
    for number in range(2):
        hop.ask(f"q{number}")
        hop.predict(class_scores(2, 0.5))
        hop.tick(1.0)
    hop.tick(3.0)
    hop.ask("probe")
    assert the_only(hop.predict(class_scores(2, 0.5)), AskAbove)


def test_a_breaker_that_cools_while_its_probe_is_out_is_woken_for_once():
    """A late refusal of another opens it again, with the only place taken. It spun until the probe came back."""
    uplink = Uplink(UplinkSettings(in_flight=1, failures_to_open=1, cool_s=1.0), Dice(b"", "site.dev"))
    uplink.up = True
    first, probe, waiting = (Key("site.dev", name, b"") for name in ("first", "probe", "waiting"))
    uplink.want(first, 5, 10)
    assert uplink.next_asks(0.0) == [first]
    uplink.refused(first, 0.0)
    uplink.want(probe, 5, 10)
    assert uplink.next_asks(1.5) == [probe]
    uplink.refused(first, 1.5)
    uplink.want(waiting, 5, 10)
    assert uplink.wakes_at(2.0) == 3.5
    assert uplink.next_asks(3.5) == []
    assert uplink.wakes_at(3.5) is None


def test_an_overloaded_hop_above_is_left_alone(climbing, the_only):
    hop = climbing(ask={"keep_ms": 60_000.0})
    refused = hop.answer_above(
        outcome=Outcome.REFUSED, reason="overloaded", retry_ms=500.0, prediction=None, label="", tier=""
    )
    assert hop.happen(Answered(refused)) == []
    assert hop.tick(0.4) == []
    assert the_only(hop.tick(0.2), AskAbove)


def test_a_refusal_for_good_leaves_the_own_guess(climbing, the_only):
    hop = climbing()
    refused = hop.answer_above(outcome=Outcome.REFUSED, reason="unknown_task", prediction=None, label="", tier="")
    answer = the_only(hop.happen(Answered(refused)), Reply).answer
    assert (answer.outcome, answer.label, answer.reason) == (Outcome.ANSWERED, "no", "above_unknown_task")


def test_what_the_link_can_never_send_is_answered_from_here(climbing, the_only):
    hop = climbing()
    answer = the_only(hop.happen(Unsendable(hop.question().key, "too_large")), Reply).answer
    assert (answer.label, answer.reason) == ("no", "too_large")


def test_a_provisional_answer_from_above_is_better_than_the_own(climbing, the_only):
    hop = climbing(ask={"keep_ms": 60_000.0})
    first = the_only(hop.happen(Answered(hop.answer_above(provisional=True))), Reply).answer
    assert (first.provisional, first.label, first.tier) == (True, "yes", "fog")
    assert hop.tick(1.0) == []
    second = the_only(hop.happen(Answered(hop.answer_above(label="no", tier="cloud"))), Reply).answer
    assert (second.correction, second.tier) == (True, "cloud")


def test_when_the_link_goes_those_who_wait_are_told_so_far(climbing, the_only):
    hop = climbing(ask={"keep_ms": 60_000.0})
    assert the_only(hop.happen(LinkLost("cut")), Reply).answer.reason == "link_down"
    assert the_only(hop.happen(LinkUp()), AskAbove).question.id == "q1"


def test_so_many_are_in_flight_and_the_most_valuable_goes_next(bench, the_only):
    hop = bench(uplink=UplinkSettings(in_flight=1))
    assert the_only(hop.ask("q1"), AskAbove)
    hop.ask("low", priority=1)
    hop.ask("high", priority=9)
    assert the_only(hop.happen(Answered(hop.answer_above("q1"))), AskAbove).question.id == "high"


def test_bytes_are_spent_from_a_budget_that_refills(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings(bytes=Allowance(per_s=100.0, burst=150.0)))
    hop.ask("q1", ms_left=60_000.0)
    assert the_only(hop.predict(class_scores(2, 0.5)), AskAbove)
    hop.happen(Sent("above", 400, (hop.question("q1").key,)))
    hop.ask("q2")
    assert the_only(hop.predict(class_scores(2, 0.5)), Reply).answer.reason == "no_budget"
    hop.now += 3.0
    hop.ask("q3")
    assert the_only(hop.predict(class_scores(2, 0.5)), AskAbove)


def test_joules_are_a_budget_too(bench, make_stage, class_scores, the_only):
    uplink = UplinkSettings(joules=Allowance(per_s=1.0, burst=1.0), joules_per_byte=0.01)
    hop = bench(make_stage(), uplink=uplink)
    hop.ask("q1", ms_left=60_000.0)
    hop.predict(class_scores(2, 0.5))
    hop.happen(Sent("above", 500, (hop.question("q1").key,)))
    hop.ask("q2")
    assert the_only(hop.predict(class_scores(2, 0.5)), Reply).answer.reason == "no_budget"


def test_an_audit_asks_above_and_leaves_the_answer_alone(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT, audit_share=1.0)
    hop.ask()
    effects = hop.predict(class_scores(1, 0.95))
    assert the_only(effects, Reply).answer.reason == "sure"
    asked = the_only(effects, AskAbove).question
    assert (asked.audit, asked.priority) == (True, 0)
    record = the_only(hop.happen(Answered(hop.answer_above())), RecordAudit)
    assert (record.agreed, record.probability, record.verdict) == (True, 1.0, "answer")


def test_audits_of_drops_find_what_was_missed(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(drop=("silence",)), uplink=PATIENT, audit_share=1.0)
    hop.ask()
    hop.predict(class_scores(0, 0.95))
    assert the_only(hop.happen(Answered(hop.answer_above())), RecordAudit).agreed is False


def test_an_audit_that_an_outage_took_is_counted_as_missing(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT, up=False, audit_share=1.0)
    hop.ask()
    assert the_only(hop.predict(class_scores(1, 0.95)), RecordAudit).agreed is None
    late = bench(make_stage(), uplink=PATIENT, audit_share=1.0, audit_within_s=2.0)
    late.ask()
    late.predict(class_scores(1, 0.95))
    assert the_only(late.tick(2.0), RecordAudit).agreed is None


def test_the_dice_fall_the_same_for_the_same_seed(bench, make_stage, class_scores):
    def audited(seed: bytes) -> list[str]:
        hop = bench(make_stage(), uplink=PATIENT, audit_share=0.3, max_audits=1000, seed=seed)
        for number in range(64):
            hop.ask(f"q{number}")
        hop.predict(*(class_scores(1, 0.95),) * 64)
        return [effect.question.id for effect in hop.seen if isinstance(effect, AskAbove)]

    assert audited(b"one") == audited(b"one") != audited(b"two")
    assert 5 < len(audited(b"one")) < 40


def test_on_a_synced_stream_nothing_runs_before_it_is_on_disk(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT)
    effects = hop.ask(durability=Durability.SYNCED)
    assert the_only(effects, Keep).sync
    assert hop.tick() == []
    hop.happen(Kept(hop.question().key))
    assert the_only(hop.tick(), RunStage)


def test_on_a_synced_stream_the_answer_is_recorded_before_it_is_given(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT)
    hop.ask(durability=Durability.SYNCED)
    hop.happen(Kept(hop.question().key))
    effects = hop.predict(class_scores(1, 0.95))
    assert the_only(effects, Remember)
    assert not any(isinstance(effect, Reply) for effect in effects)
    assert the_only(hop.happen(Remembered(hop.question().key)), Reply).answer.label == "yes"


def test_a_full_disk_is_no_reason_not_to_answer(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT)
    hop.ask(durability=Durability.SYNCED)
    hop.happen(Kept(hop.question().key, durable=False))
    assert the_only(hop.tick(), RunStage)


def test_a_batched_stream_writes_only_what_climbs(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT)
    hop.ask("q1", durability=Durability.BATCHED, keep_ms=5_000.0)
    assert not any(isinstance(effect, Keep) for effect in hop.predict(class_scores(1, 0.95)))
    hop.ask("q2", durability=Durability.BATCHED, keep_ms=5_000.0)
    effects = hop.predict(class_scores(1, 0.5))
    assert not the_only(effects, Keep).sync
    assert the_only(effects, AskAbove)


def test_when_memory_is_short_what_is_on_disk_is_parked(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT, up=False, max_open=1)
    hop.ask("q1", durability=Durability.BATCHED, keep_ms=60_000.0)
    hop.predict(class_scores(2, 0.5))
    hop.happen(Kept(hop.question("q1").key))
    effects = hop.ask("q2")
    assert the_only(effects, Park).key.id == "q1"
    assert not any(isinstance(effect, Reply) for effect in effects)


def test_a_restored_question_is_asked_again_and_its_answer_corrects(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=PATIENT)
    question = hop.question(ms_left=0.0, keep_ms=60_000.0, age_ms=5_000.0)
    hop.happen(Asked(question, "app", Durability.BATCHED, restored=True))
    effects = hop.predict(class_scores(2, 0.5))
    assert the_only(effects, AskAbove).question.age_ms == 5_000.0
    assert the_only(hop.happen(Answered(hop.answer_above())), Reply).answer.correction


def test_what_the_spool_gave_up_is_refused_with_the_reason(bench, make_stage, the_only):
    hop = bench(make_stage(), uplink=PATIENT)
    answer = the_only(hop.happen(Evicted(hop.question(payload=()), "app", "spool_full")), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, "spool_full")


def test_a_clock_that_jumps_back_gives_no_time_back(climbing, the_only):
    hop = climbing()
    hop.now -= 50.0
    assert hop.tick() == []
    hop.now += 51.0
    assert the_only(hop.tick(), Reply).answer.reason == "deadline"


def test_nothing_is_left_behind_when_all_have_ended(climbing):
    hop = climbing(ask={"keep_ms": 60_000.0})
    hop.happen(Answered(hop.answer_above()))
    assert len(hop.hop.room) == 0
    assert hop.hop.uplink.in_flight == 0
    hop.tick(200.0)
    assert hop.hop.wakes_at is None


def test_a_hop_that_dies_after_a_provisional_answer_is_asked_again_though_the_link_lives(
    bench, make_stage, class_scores, the_only
):
    """Another gateway keeps the link alive: nothing tells that the one which had the question is gone."""
    uplink = UplinkSettings(answer_within_s=1.0, ask_again_s=1.0, ask_again_most_s=60.0)
    hop = bench(make_stage(), uplink=uplink)
    hop.ask(keep_ms=3_600_000.0)
    hop.predict(class_scores(1, 0.4))
    hop.happen(Answered(hop.answer_above(provisional=True)))
    assert the_only(hop.tick(60.0), AskAbove).question.id == "q1"


def test_what_had_a_provisional_answer_is_asked_again_when_the_link_comes_back(
    bench, make_stage, class_scores, the_only
):
    hop = bench(make_stage(), uplink=UplinkSettings())
    hop.ask(keep_ms=3_600_000.0)
    hop.predict(class_scores(1, 0.4))
    hop.happen(Answered(hop.answer_above(provisional=True)))
    hop.happen(LinkLost("its gateway died"))
    assert the_only(hop.happen(LinkUp()), AskAbove).question.id == "q1"


def test_a_hop_that_keeps_saying_the_same_is_asked_ever_more_seldom_and_said_once(bench, make_stage, class_scores):
    hop = bench(make_stage(), uplink=UplinkSettings(ask_again_most_s=2.0))
    hop.ask(keep_ms=86_400_000.0)
    hop.predict(class_scores(1, 0.4))
    hop.happen(Answered(hop.answer_above(provisional=True)))
    asked = 0
    for _ in range(3600):
        for _ in [effect for effect in hop.tick(1.0) if isinstance(effect, AskAbove)]:
            asked += 1
            hop.happen(Answered(hop.answer_above(provisional=True)))
    assert 5 < asked < 15
    assert [answer.tier for answer in hop.replies()] == ["fog"]
