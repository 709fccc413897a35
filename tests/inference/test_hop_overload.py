"""Too much to do, or nobody above for long: who is served then, and who gives way."""

from __future__ import annotations

import msgspec

from cascade.inference.effects import AskAbove, Park, Reply, RunStage
from cascade.inference.events import Answered, Durability, Kept, LinkLost, Predicted
from cascade.inference.uplink import RETRIES_SAVED, UplinkSettings

UPLINK = UplinkSettings(answer_within_s=1.0, ask_again_s=0.5, ask_again_most_s=1.0, failures_to_open=10_000)


def run_of(effects) -> RunStage:
    return next(effect for effect in effects if isinstance(effect, RunStage))


def test_who_would_come_too_late_makes_way_for_who_would_not(bench, make_stage, class_scores):
    hop = bench(make_stage(max_batch=2))
    hop.ask("first")
    run = run_of(hop.tick())
    for number in range(8):
        hop.ask(f"old{number}", ms_left=150.0)
    hop.ask("young", ms_left=1000.0)
    hop.now += 0.1
    hop.happen(Predicted(run.run, (class_scores(1, 0.99),)))
    asked = [question.id for question in run_of(hop.tick()).questions]
    assert asked[0] == "young"


def test_the_late_are_run_when_there_is_nothing_better_to_do(bench, make_stage, class_scores):
    hop = bench(make_stage(max_batch=4))
    hop.ask("first")
    run = run_of(hop.tick())
    hop.ask("late", ms_left=150.0)
    hop.now += 0.1
    hop.happen(Predicted(run.run, (class_scores(1, 0.99),)))
    assert [question.id for question in run_of(hop.tick()).questions] == ["late"]


def test_a_model_that_hangs_does_not_fill_the_memory(bench, make_stage):
    hop = bench(make_stage(), max_open=100)
    hop.ask("hangs", ms_left=10.0)
    run_of(hop.tick())
    for number in range(10_000):
        hop.ask(f"q{number}", ms_left=10.0)
        hop.tick(0.001)
    (rung,) = hop.hop.ladders._rungs["kws", "r1"]
    assert rung.queue.size < 3000


def test_who_asks_nothing_new_is_heard_again_after_a_silence(bench, make_stage, class_scores):
    """The share of retries comes from first asks: when there are none, one at a time must be enough."""
    hop = bench(make_stage(), uplink=UPLINK)
    for number in range(50):
        hop.ask(f"q{number}", ms_left=500.0, keep_ms=3_600_000.0)
    hop.predict(*[class_scores(1, 0.4)] * 50)
    for _ in range(100):
        hop.tick(0.1)  # a hop that says nothing, on a link that lives
    assert RETRIES_SAVED < 50
    answered: set[str] = set()
    for _ in range(600):
        for effect in hop.tick(0.1):
            if isinstance(effect, AskAbove):
                answered.add(effect.question.id)
                hop.happen(Answered(hop.answer_above(effect.question.id)))
    assert len(answered) == 50
    assert len(hop.hop.room) == 0


def test_with_nobody_above_for_long_newcomers_are_still_answered(bench, make_stage, class_scores):
    hop = bench(make_stage(), uplink=UPLINK, up=False, max_open=8)
    for number in range(50):
        hop.ask(f"q{number}", keep_ms=86_400_000.0)
        hop.predict(class_scores(1, 0.4))
    assert {answer.outcome for answer in hop.replies()} == {"answered"}
    assert len({answer.id for answer in hop.replies()}) == 50
    finals = [answer.id for answer in hop.replies() if not answer.provisional]
    assert finals == [f"q{number}" for number in range(42)]


def test_a_question_worth_less_never_makes_a_better_one_give_up_hope(bench, make_stage, class_scores):
    hop = bench(make_stage(), uplink=UPLINK, up=False, max_open=1)
    hop.ask("better", keep_ms=86_400_000.0, priority=7)
    hop.predict(class_scores(1, 0.4))
    hop.ask("worse", priority=3)
    assert [answer.reason for answer in hop.replies() if answer.id == "worse"] == ["overloaded"]


def test_what_was_parkable_once_and_has_ended_takes_no_place_of_who_is_now(bench, make_stage, class_scores):
    hop = bench(make_stage(), uplink=UPLINK, max_open=4)

    def ask(id: str) -> None:
        hop.ask(id, Durability.BATCHED, ms_left=100.0, keep_ms=86_400_000.0)
        hop.predict(class_scores(1, 0.4))
        hop.happen(Kept(hop.question(id).key))
        hop.tick(0.2)

    for number in range(100):
        ask(f"q{number}")
        hop.happen(Answered(hop.answer_above(f"q{number}")))
    hop.happen(LinkLost("cut"))
    hop.seen.clear()
    for number in range(100, 120):
        ask(f"q{number}")
    assert len([effect for effect in hop.seen if isinstance(effect, Park)]) == 16
    assert all(effect.answer.outcome == "answered" for effect in hop.seen if isinstance(effect, Reply))


def test_a_room_full_of_those_who_had_an_answer_is_not_crowded(bench, make_stage, class_scores):
    hop = bench(make_stage(), uplink=UPLINK, up=False, max_open=8)
    for number in range(6):
        hop.ask(f"q{number}", keep_ms=86_400_000.0)
    assert hop.hop.room.crowded()
    hop.predict(*[class_scores(1, 0.4)] * 6)
    assert len(hop.hop.room) == 6
    assert not hop.hop.room.crowded()
    assert msgspec.structs.asdict(hop.replies()[0])["provisional"]
