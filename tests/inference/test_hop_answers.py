"""What a hop does with a question by itself: stages, gates, batches, bad input, the bound on what is open."""

from __future__ import annotations

import math

from cascade.inference.effects import AskAbove, RecordDecision, RecordUndecided, Reply, RunStage
from cascade.inference.events import Asked, BadSample, LadderInstalled, Predicted, RunFailed
from cascade.inference.uplink import UplinkSettings
from cascade.messages import ClassScores, Outcome, Verdict
from cascade.release.ladder import Ladder


def test_a_sure_prediction_is_answered_at_once(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage())
    assert hop.ask() == []
    answer = the_only(hop.predict(class_scores(1, 0.9)), Reply).answer
    assert (answer.outcome, answer.label, answer.tier, answer.reason) == (Outcome.ANSWERED, "yes", "edge", "sure")


def test_the_answer_tells_which_stage_was_how_sure(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(model="abc123"))
    hop.ask()
    (step,) = the_only(hop.predict(class_scores(1, 0.9)), Reply).answer.trail
    assert (step.node, step.stage, step.model, step.verdict) == ("site.dev", "small", "abc123", Verdict.ANSWER)
    assert (step.confidence, step.threshold, step.ms) == (0.9, 0.8, 1.0)


def test_an_unsure_one_goes_to_the_next_stage(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage("small"), make_stage("large"))
    hop.ask()
    assert hop.predict(class_scores(1, 0.5)) == []
    run = the_only(hop.tick(), RunStage)
    assert run.stage == "large"


def test_the_trail_tells_what_each_stage_would_have_said(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage("small"), make_stage("middle"), make_stage("large"))
    hop.ask()
    hop.predict(class_scores(2, 0.5))
    hop.predict(ClassScores((math.nan, 0.1, 0.2)))
    answer = the_only(hop.predict(class_scores(1, 0.9)), Reply).answer
    assert [step.guess for step in answer.trail] == ["no", "", "yes"]


def test_at_the_top_the_unsure_is_answered_too(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage())
    hop.ask()
    answer = the_only(hop.predict(class_scores(1, 0.5)), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.ANSWERED, "nobody_above")


def test_a_sure_nothing_is_dropped(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(drop=("silence",)))
    hop.ask()
    answer = the_only(hop.predict(class_scores(0, 0.95)), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.DROPPED, "nothing_here")


def test_nan_is_never_easy(bench, make_stage, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings())
    hop.ask()
    effects = hop.predict(ClassScores((math.nan, 0.1, 0.2)))
    assert the_only(effects, AskAbove).question.id == "q1"
    assert the_only(effects, RecordDecision).decision.reason == "unreadable"


def test_scores_of_another_number_of_classes_climb(bench, make_stage, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings())
    hop.ask()
    assert the_only(hop.predict(ClassScores((0.99, 0.01))), AskAbove)


def test_unreadable_at_the_top_is_refused_not_guessed(bench, make_stage, the_only):
    hop = bench(make_stage())
    hop.ask()
    effects = hop.predict(ClassScores((math.nan, 0.1, 0.2)))
    answer = the_only(effects, Reply).answer
    assert (answer.outcome, answer.reason, answer.prediction) == (Outcome.REFUSED, "unreadable", None)
    assert the_only(effects, RecordUndecided).outcome is Outcome.REFUSED


def test_bad_input_is_the_askers_error_and_never_climbs(bench, make_stage, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings())
    hop.ask()
    effects = hop.predict(BadSample("shape (3,), expected (2,)"))
    assert the_only(effects, Reply).answer.outcome is Outcome.REFUSED
    assert not any(isinstance(effect, AskAbove) for effect in effects)


def test_questions_that_came_together_share_a_model_call(bench, make_stage, the_only):
    hop = bench(make_stage())
    for number in range(5):
        hop.ask(f"q{number}")
    assert len(the_only(hop.tick(), RunStage).questions) == 5


def test_a_batch_is_bounded_and_what_is_left_runs_next(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(max_batch=2))
    for number in range(3):
        hop.ask(f"q{number}")
    assert len(hop.predict(class_scores(1, 0.9), class_scores(1, 0.9))) == 4  # two replies, two records
    assert [question.id for question in the_only(hop.tick(), RunStage).questions] == ["q2"]


def test_while_a_batch_runs_others_gather(bench, make_stage, the_only):
    hop = bench(make_stage())
    hop.ask("q1")
    run = the_only(hop.tick(), RunStage)
    hop.ask("q2")
    hop.ask("q3")
    assert hop.tick() == []
    hop.happen(RunFailed(run.run, "broken"))
    hop.tick()


def test_the_more_valuable_runs_first(bench, make_stage, the_only):
    hop = bench(make_stage(max_batch=1))
    hop.ask("low", priority=1)
    hop.ask("high", priority=8)
    assert the_only(hop.tick(), RunStage).questions[0].id == "high"


def test_a_batch_that_fails_is_tried_one_by_one(bench, make_stage, class_scores, the_only):
    hop = bench(make_stage(), uplink=UplinkSettings())
    hop.ask("q1")
    hop.ask("q2")
    hop.happen(RunFailed(the_only(hop.tick(), RunStage).run, "out of memory"))
    first = [effect for effect in hop.tick() if isinstance(effect, RunStage)]
    assert [len(run.questions) for run in first] == [1]
    assert the_only(hop.happen(Predicted(first[0].run, (class_scores(1, 0.9),))), Reply).answer.id == "q1"
    effects = hop.happen(RunFailed(the_only(hop.tick(), RunStage).run, "out of memory"))
    assert the_only(effects, AskAbove).question.id == "q2"
    assert the_only(effects, RecordDecision).decision.reason == "stage_failed"


def test_what_is_over_the_bound_is_refused_and_told_when_to_come_back(bench, make_stage, the_only):
    hop = bench(make_stage(), max_open=1, retry_ms=250.0)
    hop.ask("q1")
    answer = the_only(hop.ask("q2"), Reply).answer
    assert (answer.outcome, answer.reason, answer.retry_ms) == (Outcome.REFUSED, "overloaded", 250.0)


def test_when_full_the_least_valuable_gives_way(bench, make_stage, the_only):
    hop = bench(make_stage(), max_open=1)
    hop.ask("cheap", priority=2)
    answer = the_only(hop.ask("dear", priority=7), Reply).answer
    assert (answer.id, answer.reason) == ("cheap", "overloaded")


def test_asking_twice_while_it_is_open_runs_once(bench, make_stage, the_only):
    hop = bench(make_stage())
    hop.ask()
    hop.ask()
    assert len(the_only(hop.tick(), RunStage).questions) == 1


def test_the_same_question_gets_the_answer_it_had(bench, make_stage, the_only):
    hop = bench(make_stage())
    before = hop.answer_above()
    effects = hop.happen(Asked(hop.question(), "app", earlier=before))
    assert effects == [Reply("app", before)]


def test_the_same_id_with_another_payload_is_another_question(bench, make_stage, the_only):
    hop = bench(make_stage())
    hop.ask(digest=b"one")
    hop.ask(digest=b"two")
    assert len(the_only(hop.tick(), RunStage).questions) == 2


def test_a_question_without_time_is_expired_at_once(bench, make_stage, the_only):
    answer = the_only(bench(make_stage()).ask(ms_left=0.0), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.EXPIRED, "too_late")


def test_at_the_top_an_unknown_task_is_refused_by_name(bench, make_stage, the_only):
    answer = the_only(bench(make_stage()).ask(task="birds"), Reply).answer
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, "unknown_task")


def test_a_hop_without_stages_passes_everything_on(bench, the_only):
    hop = bench(uplink=UplinkSettings())
    effects = hop.ask(task="birds")
    assert the_only(effects, AskAbove).question.task == "birds"
    assert the_only(effects, RecordDecision).decision.reason == "no_stage_here"


def test_a_question_enters_at_the_stage_it_names(bench, make_stage, the_only):
    hop = bench(make_stage("small"), make_stage("large"))
    hop.ask(stage="large")
    assert the_only(hop.tick(), RunStage).stage == "large"


def test_a_new_release_takes_over_and_the_one_before_stays(bench, make_stage, the_only):
    hop = bench(make_stage("old"))
    hop.happen(LadderInstalled(Ladder(task="kws", release="r2", stages=(make_stage("new"),))))
    hop.ask("q1", release="r1")
    assert the_only(hop.tick(), RunStage).stage == "old"
    hop.ask("q2", release="r2")
    assert the_only(hop.tick(), RunStage).stage == "new"
    hop.ask("q3", release="r0")
    hop.happen(Predicted(2, (ClassScores((0.0, 1.0, 0.0)),)))
    assert the_only(hop.tick(), RunStage).stage == "new"


def test_with_nothing_to_do_it_asks_not_to_be_woken(bench, make_stage, class_scores):
    hop = bench(make_stage())
    assert hop.hop.wakes_at is None
    hop.ask()
    assert hop.hop.wakes_at == hop.now
    hop.predict(class_scores(1, 0.9))
    assert hop.hop.wakes_at is None
