"""Deadlines: not asking in vain, giving the guess early, and what a hop learns of the time that answers take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.inference.effects import AskAbove, Reply
from cascade.inference.events import Answered, Asked, LadderInstalled
from cascade.inference.promptness import Promptness
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Verdict
from cascade.release.ladder import Ladder, StreamTiming, Timing

WORTH, AS_USUAL = 0.05, Timing()
PATIENT = UplinkSettings(answer_within_s=5.0, failures_to_open=1000)


def known(*times_s: float) -> Promptness:
    promptness = Promptness()
    for time_s in times_s:
        promptness.answered(time_s, 0.0)
    return promptness


def test_as_long_as_little_is_known_it_asks():
    assert not known(0.06, 0.06, 0.06).is_vain(0.001, WORTH, 0.0)


def test_with_40_ms_left_and_answers_that_take_60_it_is_in_vain_and_with_80_it_is_not():
    promptness = known(*[0.06] * 20)
    assert promptness.is_vain(0.04, WORTH, 0.0)
    assert not promptness.is_vain(0.08, WORTH, 0.0)


def test_a_small_chance_is_worth_it_if_the_settings_say_so():
    promptness = known(*[0.06] * 8, *[0.02] * 2)
    assert not promptness.is_vain(0.04, 0.1, 0.0)
    assert promptness.is_vain(0.04, 0.3, 0.0)
    assert not promptness.is_vain(0.001, 0.0, 0.0)


def test_asks_without_an_answer_say_nothing_of_longer_waits():
    promptness = Promptness()
    for _ in range(20):
        promptness.unanswered(0.04, 0.0)
    assert promptness.is_vain(0.03, WORTH, 0.0)
    assert not promptness.is_vain(0.1, WORTH, 0.0)
    assert promptness.chance_within(0.1) is None


def test_where_it_does_not_ask_any_more_it_tries_again_now_and_then():
    promptness, asked = known(*[0.06] * 200), 0
    for _ in range(4000):
        if not promptness.is_vain(0.04, WORTH, 0.0):
            asked += 1
            promptness.unanswered(0.04, 0.0)
    assert 5 <= asked <= 200


def test_a_link_that_has_become_quick_is_asked_again():
    promptness = known(*[0.06] * 100)
    asked = 0
    for _ in range(2000):
        if not promptness.is_vain(0.04, WORTH, 0.0):
            asked += 1
            promptness.answered(0.01, 0.0)
    assert asked > 1000


def test_a_link_that_has_become_slow_is_noticed():
    promptness = known(*[0.01] * 100)
    asked = 0
    while not promptness.is_vain(0.04, WORTH, 0.0):
        promptness.unanswered(0.04, 0.0)
        asked += 1
    assert asked < 400


def test_who_asks_seldom_tries_again_after_some_seconds_and_one_quick_answer_counts_for_much():
    promptness = known(*[0.06] * 20)
    assert promptness.is_vain(0.04, WORTH, 9.0)
    assert not promptness.is_vain(0.04, WORTH, 10.0)
    assert promptness.is_vain(0.04, WORTH, 11.0)
    promptness.answered(0.01, 12.0)
    assert not promptness.is_vain(0.04, WORTH, 12.0)


def test_after_a_link_was_down_little_is_known():
    promptness = known(*[0.06] * 12)
    promptness.link_up()
    assert not promptness.is_vain(0.04, WORTH, 0.0)


@given(st.lists(st.floats(0, 1e4), max_size=300), st.lists(st.floats(0, 1e4), max_size=100), st.floats(0, 1e4))
def test_a_chance_is_between_nought_and_one_whatever_times_there_were(answered, unanswered, left_s):
    promptness = known(*answered)
    for time_s in unanswered:
        promptness.unanswered(time_s, 0.0)
    chance = promptness.chance_within(left_s)
    assert chance is None or 0.0 <= chance <= 1.0
    assert promptness.is_vain(left_s, 0.5, 0.0) in (True, False)


@pytest.fixture
def slow(bench, make_stage, class_scores):
    """A device whose link takes 60 ms; each question has so many milliseconds."""

    class Slow:
        def __init__(self, timing: Timing = AS_USUAL, uplink: UplinkSettings = PATIENT):
            self.bench = bench(uplink=uplink)
            ladder = Ladder(task="kws", release="r1", stages=(make_stage(),), timing=timing)
            self.bench.happen(LadderInstalled(ladder))
            self.asked = 0

        def ask(self, ms_left: float, timing: StreamTiming | None = None, **more) -> list:
            self.asked += 1
            question = self.bench.question(f"q{self.asked}", ms_left=ms_left, **more)
            self.bench.happen(Asked(question, "app", timing=timing))
            return self.bench.predict(class_scores(2, 0.5))

        def round_trip(self, ms_left: float = 500.0, takes_s: float = 0.06) -> None:
            self.ask(ms_left)
            self.bench.tick(takes_s)
            self.bench.happen(Answered(self.bench.answer_above(f"q{self.asked}")))

    return Slow


def test_with_40_ms_left_and_a_link_that_takes_60_it_does_not_ask(slow, the_only):
    hop = slow()
    for _ in range(8):
        hop.round_trip()
    effects = hop.ask(40.0)
    answer = the_only(effects, Reply).answer
    assert not any(isinstance(effect, AskAbove) for effect in effects)
    assert (answer.label, answer.reason, answer.provisional) == ("no", "no_time", False)
    assert [(step.reason, step.verdict) for step in answer.trail] == [
        ("unsure", Verdict.CLIMB),
        ("no_time", Verdict.ANSWER),
    ]
    assert the_only(hop.ask(80.0), AskAbove)


def test_a_hop_that_is_always_too_late_is_soon_not_asked_any_more(slow):
    hop = slow()
    asked = 0
    for _ in range(50):
        asked += any(isinstance(effect, AskAbove) for effect in hop.ask(40.0))
        hop.bench.tick(0.04)
    assert asked <= 8


def test_who_wants_corrections_asks_however_little_time_is_left(slow, the_only):
    hop = slow()
    for _ in range(8):
        hop.round_trip()
    assert the_only(hop.ask(40.0, keep_ms=5000.0), AskAbove)


def test_answers_that_a_deadline_hurried_say_nothing_of_how_long_answers_take(slow):
    hop = slow()
    for _ in range(8):
        hop.ask(500.0)
        hop.bench.tick(0.4)
        hop.bench.happen(Answered(hop.bench.answer_above(f"q{hop.asked}", reason="deadline")))
    assert any(isinstance(effect, AskAbove) for effect in hop.ask(40.0))


def test_a_ladder_may_always_want_to_ask(slow, the_only):
    hop = slow(Timing(worth_asking=0.0))
    for _ in range(8):
        hop.round_trip()
    assert the_only(hop.ask(40.0), AskAbove)


def test_a_hedge_gives_the_guess_early_and_the_correction_later(slow, the_only):
    hop = slow(Timing(provisional_at=0.4))
    assert the_only(hop.ask(1000.0), AskAbove)
    assert hop.bench.hop.wakes_at == pytest.approx(hop.bench.now + 0.4)
    early = the_only(hop.bench.tick(0.4), Reply).answer
    assert (early.label, early.reason, early.provisional) == ("no", "hedged", True)
    hop.bench.tick(0.3)
    late = the_only(hop.bench.happen(Answered(hop.bench.answer_above("q1"))), Reply).answer
    assert (late.label, late.provisional, late.correction) == ("yes", False, True)
    assert [step.reason for step in late.trail] == ["unsure", "hedged"]


def test_a_hedge_that_nobody_corrects_becomes_final_at_the_deadline(slow, the_only):
    hop = slow(Timing(provisional_at=0.4))
    hop.ask(1000.0)
    hop.bench.tick(0.4)
    last = the_only(hop.bench.tick(0.6), Reply).answer
    assert (last.label, last.reason, last.provisional, last.correction) == ("no", "deadline", False, True)
    assert len(hop.bench.hop.room) == 0


def test_an_answer_that_comes_before_the_hedge_is_the_only_one(slow):
    hop = slow(Timing(provisional_at=0.4))
    hop.round_trip(1000.0)
    hop.bench.tick(2.0)
    assert [answer.provisional for answer in hop.bench.replies()] == [False]


def test_a_hedge_of_who_wants_corrections_goes_on_after_the_deadline(slow, the_only):
    hop = slow(Timing(provisional_at=0.4))
    hop.ask(1000.0, keep_ms=5000.0)
    hop.bench.tick(0.4)
    assert not any(isinstance(effect, Reply) for effect in hop.bench.tick(0.6))
    last = the_only(hop.bench.happen(Answered(hop.bench.answer_above("q1"))), Reply).answer
    assert (last.label, last.correction) == ("yes", True)


def test_a_stream_has_the_last_word_on_its_time(slow, the_only):
    hop = slow(Timing(provisional_at=0.4))
    hop.ask(1000.0, timing=StreamTiming(provisional_at=1.0))
    assert not any(isinstance(effect, Reply) for effect in hop.bench.tick(0.5))
    assert the_only(hop.bench.tick(0.5), Reply).answer.reason == "deadline"


def test_a_hedge_without_a_guess_waits_for_its_deadline(slow, the_only, bench):
    hop = bench(uplink=PATIENT)
    hop.happen(LadderInstalled(Ladder(task="kws", release="r1", timing=Timing(provisional_at=0.4))))
    hop.ask(ms_left=1000.0)
    assert not any(isinstance(effect, Reply) for effect in hop.tick(0.5))
    assert the_only(hop.tick(0.5), Reply).answer.reason == "deadline"


def test_what_a_stream_does_not_say_the_ladder_says():
    ladder = Timing(worth_asking=0.2, provisional_at=0.3)
    assert StreamTiming(worth_asking=0.0).over(ladder) == Timing(worth_asking=0.0, provisional_at=0.3)
    assert StreamTiming().over(ladder) == ladder
