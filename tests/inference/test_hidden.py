"""Hidden features in a hop: which rung goes on, what may go up in place of the input, and who frees what is held."""

from __future__ import annotations

import pytest

from cascade.inference.effects import AskAbove, FreeHidden, RecordUndecided, Reply, RunStage
from cascade.inference.events import Answered, BadSample, LinkUp, Packed, Predicted, RunFailed, Sent
from cascade.inference.hidden import TRY_AGAIN_S
from cascade.inference.uplink import UplinkSettings
from cascade.messages import Outcome, Verdict

UPLINK = UplinkSettings()
SEGMENT, ANOTHER = b"s" * 16, b"a" * 16


@pytest.fixture
def device(bench, make_stage):
    """Two exits of one model, the second of which may send its features up."""

    def make(**more):
        stages = (make_stage("exit1"), make_stage("exit2", after="exit1", sends=True))
        return bench(*stages, uplink=UPLINK, **more)

    return make


@pytest.fixture
def above(bench, make_stage):
    """A model of the input, and the rest of the device's model: its hidden features lead to the latter."""

    def make(**more):
        rest = make_stage("rest", "confidence", 0.9, continues=SEGMENT)
        return bench(make_stage("whole", "confidence", 0.9), rest, make_stage("last", after="rest"), **more)

    return make


@pytest.fixture
def unsure(class_scores):
    return class_scores(2, 0.5)


@pytest.fixture
def asked_above(device, unsure, the_only):
    """A device that asked above about q1, with its hidden features."""

    def make(packed: bool = True, **question):
        hop = device()
        hop.ask(**question)
        hop.predict(unsure)
        hop.asked = the_only(hop.predict(unsure), AskAbove)
        if packed:
            hop.happen(Packed(hop.question().key, 120, 500))
        hop.happen(Sent("above", 160, (hop.question().key,)))
        return hop

    return make


def test_an_early_exit_frees_what_the_next_segment_would_have_taken(device, class_scores, the_only):
    hop = device()
    hop.ask()
    effects = hop.predict(class_scores(1, 0.95))
    assert the_only(effects, Reply).answer.outcome is Outcome.ANSWERED
    assert the_only(effects, FreeHidden).key == hop.question().key


def test_a_model_without_segments_frees_nothing(bench, make_stage, class_scores):
    hop = bench(make_stage(), make_stage("second"), uplink=UPLINK)
    hop.ask()
    hop.predict(class_scores(1, 0.5))
    assert not [effect for effect in hop.predict(class_scores(1, 0.95)) if isinstance(effect, FreeHidden)]


def test_who_ended_while_its_segment_ran_frees_what_came_of_it(device, class_scores, the_only):
    hop = device()
    hop.ask()
    run = the_only(hop.tick(), RunStage)
    hop.tick(2.0)  # its deadline passes, and there is no guess
    late = hop.happen(Predicted(run.run, (class_scores(1, 0.95),)))
    assert late == [FreeHidden(hop.question().key)]


@pytest.mark.parametrize("bad", [True, False])
def test_a_segment_that_failed_frees_what_the_one_before_left(device, unsure, the_only, bad):
    hop = device(up=False)
    hop.ask()
    hop.predict(unsure)
    run = the_only(hop.tick(), RunStage)
    ended = hop.happen(Predicted(run.run, (BadSample("odd"),)) if bad else RunFailed(run.run, "it broke"))
    assert the_only(ended, FreeHidden).key == hop.question().key


def test_past_the_last_exit_the_hidden_features_may_go_up(asked_above):
    hop = asked_above()
    assert hop.asked.hidden == "exit2"
    assert hop.asked.question.hidden == b""  # what goes is for the shell to choose, by size


def test_the_trail_says_that_hidden_features_went_up(asked_above, the_only):
    hop = asked_above()
    trail = the_only(hop.happen(Answered(hop.answer_above())), Reply).answer.trail
    assert [(step.sent, step.bytes_up) for step in trail] == [("", 0), ("hidden", 160)]


def test_where_the_input_is_smaller_the_trail_says_nothing_of_hidden_features(asked_above, the_only):
    hop = asked_above(packed=False)
    answer = the_only(hop.happen(Answered(hop.answer_above())), Reply).answer
    assert (answer.trail[-1].sent, answer.trail[-1].bytes_up) == ("", 160)


def needs_input(hop, **fields):
    return hop.happen(Answered(hop.answer_above(outcome=Outcome.REFUSED, reason="need_input", label="", **fields)))


def test_a_hop_above_that_needs_the_input_gets_it(asked_above, the_only):
    hop = asked_above()
    again = the_only(needs_input(hop, prediction=None), AskAbove)
    assert (again.hidden, again.question.payload) == ("", hop.question().payload)
    hop.happen(Sent("above", 500, (hop.question().key,)))
    answer = the_only(hop.happen(Answered(hop.answer_above())), Reply).answer
    assert (answer.outcome, answer.trail[-1].sent, answer.trail[-1].bytes_up) == (
        Outcome.ANSWERED, "hidden, input", 660,
    )  # fmt: skip


def test_a_hop_above_that_asks_for_the_input_twice_is_not_asked_for_ever(asked_above, the_only):
    hop = asked_above()
    needs_input(hop, prediction=None)
    answer = the_only(needs_input(hop, prediction=None), Reply).answer
    assert (answer.outcome, answer.label, answer.reason) == (Outcome.ANSWERED, "no", "above_need_input")


def ask_another(hop, unsure, the_only, id):
    hop.ask(id)
    hop.predict(unsure)
    return the_only(hop.predict(unsure), AskAbove)


def test_for_a_while_the_input_is_sent_at_once(asked_above, unsure, the_only):
    hop = asked_above()
    needs_input(hop, prediction=None)
    assert ask_another(hop, unsure, the_only, "q2").hidden == ""
    hop.now += TRY_AGAIN_S
    assert ask_another(hop, unsure, the_only, "q3").hidden == "exit2"


def test_a_new_link_may_lead_to_a_hop_that_goes_on(asked_above, unsure, the_only):
    hop = asked_above()
    needs_input(hop, prediction=None)
    hop.happen(LinkUp())
    assert ask_another(hop, unsure, the_only, "q2").hidden == "exit2"


def test_hidden_features_from_below_go_on_where_they_ended(above, the_only):
    hop = above()
    hop.ask(hidden=SEGMENT)
    assert the_only(hop.tick(), RunStage).stage == "rest"


def test_they_climb_to_the_next_segment_only(above, unsure, the_only):
    hop = above()
    hop.ask(hidden=SEGMENT)
    hop.predict(unsure)
    assert the_only(hop.tick(), RunStage).stage == "last"


def test_an_input_never_enters_a_continuation(above, unsure, the_only):
    hop = above()
    hop.ask(stage="rest")
    assert the_only(hop.tick(), RunStage).stage == "whole"
    hop.ask("q2")
    answered = hop.happen(Predicted(1, (unsure,)))
    assert the_only(answered, Reply).answer.reason == "nobody_above"


def test_features_of_an_unknown_segment_are_answered_with_need_input(above, the_only):
    effects = above().ask(hidden=ANOTHER)
    answer = the_only(effects, Reply).answer
    assert (answer.outcome, answer.reason, answer.retry_ms) == (Outcome.REFUSED, "need_input", None)
    assert the_only(effects, RecordUndecided).reason == "need_input"


def test_a_hop_without_any_model_passes_hidden_features_on(bench, the_only):
    hop = bench(uplink=UPLINK)
    asked = the_only(hop.ask(hidden=ANOTHER), AskAbove)
    assert (asked.question.hidden, asked.hidden) == (ANOTHER, "")


def test_a_hop_between_hands_the_need_for_the_input_down(above, unsure, the_only):
    hop = above(uplink=UPLINK)
    hop.ask(hidden=SEGMENT)
    hop.predict(unsure)
    asked = the_only(hop.predict(unsure), AskAbove)
    assert asked.question.hidden == SEGMENT
    answer = the_only(needs_input(hop, prediction=None), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, "need_input")
    assert [step.verdict for step in answer.trail] == [Verdict.CLIMB, Verdict.CLIMB]
    hop.ask()  # the device sends the input
    assert the_only(hop.tick(), RunStage).stage == "whole"


def test_a_guess_that_comes_with_the_need_for_the_input_is_kept(asked_above, class_scores, the_only):
    hop = asked_above(keep_ms=0.0)
    needs_input(hop, prediction=class_scores(0, 0.7), tier="fog")
    answer = the_only(hop.tick(1.0), Reply).answer
    assert (answer.prediction, answer.tier, answer.reason) == (class_scores(0, 0.7), "fog", "deadline")
