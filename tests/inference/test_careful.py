"""Careful: a guarantee in doubt makes a hop ask more often, within rails and budgets; and it comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.errors import IllegalTransition
from cascade.inference.budget import Allowance
from cascade.inference.careful import STANDINGS, Sign, Standing
from cascade.inference.effects import AskAbove, RecordAudit, RecordDistances, RecordStanding, Reply
from cascade.inference.events import Answered, LadderInstalled
from cascade.inference.gate import Gate
from cascade.inference.references import shape_of
from cascade.inference.uplink import UplinkSettings
from cascade.messages import ClassScores, Estimate, Outcome, Step, Verdict
from cascade.release.ladder import Care, GateSpec, Ladder, LadderStage
from cascade.release.reference import Reference

PATIENT = UplinkSettings(answer_within_s=5.0, in_flight=100_000)
MODEL, OTHER = "feedfacecafe", "0123456789ab"
CARE = Care(most=10.0, step=0.25, ease=0.25, calm=256)


def reference(recorded: Any = None, **more: Any) -> Reference:
    recorded = np.random.default_rng(0).beta(12, 1, 1000) if recorded is None else recorded
    usual = {"tier": "edge", "stage": "small", "bundle": "0" * 64, "gate": "confidence"}
    return Reference(**usual, confidence=shape_of(recorded), **more)


def ladder(stage: LadderStage, release: str = "r1", **more: Any) -> Ladder:
    return Ladder(task="kws", release=release, stages=(stage,), **{"care": CARE, "models_above": (MODEL,), **more})


@pytest.fixture
def guarded(bench, make_stage, class_scores):
    """A device whose release promises something: it asks about `sure` of itself, over and over."""

    class Guarded:
        def __init__(self, uplink: UplinkSettings = PATIENT, care: Care = CARE, models=(MODEL,), **more: Any):
            self.bench = bench(uplink=uplink, **more.pop("settings", {}))
            stage = make_stage(threshold=0.8, **{"reference": reference(), **more})
            self.effects = self.bench.happen(LadderInstalled(ladder(stage, care=care, models_above=models)))
            self.asked = 0

        @property
        def vigil(self):
            return self.bench.hop.vigils.by_task["kws"]

        def ask(self, confidence: float) -> list:
            self.asked += 1
            self.bench.ask(f"q{self.asked}")
            return self.bench.predict(class_scores(1, confidence))

        def answer(self, model: str = MODEL, id: str = "") -> list:
            step = Step(node="site", tier="fog", stage="large", model=model, verdict=Verdict.ANSWER, reason="sure")
            return self.bench.happen(Answered(self.bench.answer_above(id or f"q{self.asked}", trail=(step,))))

        def usual(self, count: int, seed: int = 1) -> None:
            for confidence in np.random.default_rng(seed).beta(12, 1, count).tolist():
                self.ask(max(0.34, confidence))

        def shifted(self, count: int, seed: int = 2) -> None:
            for confidence in np.random.default_rng(seed).uniform(0.7, 1.0, count).tolist():
                self.ask(confidence)

        def told(self) -> list[tuple[str, tuple[str, ...]]]:
            seen = [each for each in self.bench.seen if isinstance(each, RecordStanding)]
            changes = [(each.standing, each.doubts) for each in seen]
            return [now for before, now in zip([None, *changes], changes, strict=False) if before != now]

    return Guarded


def test_until_the_hop_above_is_heard_nobody_knows(guarded):
    hop = guarded()
    assert hop.vigil.standing is Standing.UNKNOWN
    hop.ask(0.5)
    hop.answer()
    assert hop.vigil.standing is Standing.STEADY


def test_a_release_that_promises_nothing_is_not_watched(bench, make_stage):
    hop = bench(make_stage(), uplink=PATIENT).hop
    assert hop.vigils.by_task["kws"].standing is Standing.UNGUARDED
    assert hop.ladders._rungs["kws", "r1"][0].vigil is None


def test_who_has_nobody_above_watches_nothing(bench, make_stage):
    assert bench(make_stage(reference=reference())).hop.vigils.by_task == {}


def test_another_model_above_makes_it_careful_at_once(guarded):
    hop = guarded()
    hop.ask(0.5)
    hop.answer(OTHER)
    assert hop.told()[-1] == ("careful", ("other_model_above",))


def test_who_never_comes_to_the_first_stage_is_asked_about_more_carefully_too(bench, make_stage, class_scores):
    """As what a watch's model woke: the next stage verifies."""
    hop = bench(uplink=PATIENT)
    stages = make_stage(name="wakes", threshold=0.8, reference=reference()), make_stage(name="verifies", threshold=0.8)
    hop.happen(LadderInstalled(Ladder(task="kws", release="r1", stages=stages, care=CARE, models_above=(MODEL,))))
    step = Step(node="site", tier="fog", stage="large", model=OTHER, verdict=Verdict.ANSWER, reason="sure")
    cautions = []
    for number in range(80):
        hop.ask(f"q{number}", stage="verifies")
        hop.predict(class_scores(1, 0.5))
        hop.happen(Answered(hop.answer_above(f"q{number}", trail=(step,))))
        cautions.append(hop.hop.vigils.by_task["kws"].caution)
    assert [cautions.index(each) for each in (0.25, 0.5, 0.75, 1.0)] == [15, 31, 47, 63]
    assert hop.hop.vigils.by_task["kws"].doubts.keys() == {"other_model_above"}


def test_an_answer_to_another_release_says_nothing_of_this_one(guarded):
    hop = guarded()
    hop.ask(0.5)
    step = Step(node="site", tier="fog", stage="large", model=OTHER, verdict=Verdict.ANSWER, reason="sure")
    hop.bench.happen(Answered(hop.bench.answer_above("q1", release="r0", trail=(step,))))
    assert hop.vigil.standing is Standing.UNKNOWN


def test_when_the_promised_model_is_back_it_eases_and_is_steady_again(guarded):
    hop = guarded(reference=None)
    hop.ask(0.5)
    hop.answer(OTHER)
    hop.usual(80)
    assert hop.vigil.caution == 1.0
    for _ in range(CARE.calm // 8):
        hop.ask(0.5)
        hop.answer(MODEL)
    assert hop.vigil.standing is Standing.EASING
    hop.usual(80)
    assert (hop.vigil.standing, hop.vigil.caution) == (Standing.STEADY, 0.0)
    assert [standing for standing, _ in hop.told()] == ["unknown", "careful", "easing", "steady"]


def test_drift_is_noticed_within_200_questions_and_more_of_them_climb(guarded):
    hop = guarded()
    hop.shifted(200)
    assert hop.told()[-1] == ("careful", ("confidence_drift",))
    before = len([each for each in hop.bench.seen if isinstance(each, AskAbove)])
    hop.shifted(100, seed=3)
    climbed = len([each for each in hop.bench.seen if isinstance(each, AskAbove)]) - before
    assert climbed > 60  # by the release's threshold a third would


def test_what_climbs_out_of_care_says_so_in_the_trail(guarded, the_only):
    hop = guarded()
    hop.shifted(300)
    hop.ask(0.85)
    hop.answer()
    step = hop.bench.replies()[-1].trail[0]
    assert (step.reason, step.verdict) == ("careful", Verdict.CLIMB)
    assert step.threshold == pytest.approx(0.98)
    hop.ask(0.5)
    hop.answer()
    assert hop.bench.replies()[-1].trail[0].reason == "unsure"


def test_when_the_drift_is_gone_thresholds_come_back_to_those_of_the_release(guarded):
    hop = guarded(care=msgspec.structs.replace(CARE, seldom=2000.0))
    hop.shifted(300)
    assert hop.vigil.caution > 0.0
    hop.usual(1500)
    assert hop.vigil.caution == 0.0
    assert "easing" in [standing for standing, _ in hop.told()]
    assert hop.bench.hop.ladders._rungs["kws", "r1"][0].gate.threshold == 0.8


def test_a_threshold_never_moves_further_than_a_step_in_16_questions(guarded):
    hop = guarded()
    levels = [0.0]
    for _ in range(40):
        hop.shifted(16, seed=len(levels))
        levels.append(hop.vigil.caution)
    moves = np.diff(levels)
    assert max(moves) <= CARE.step
    assert min(moves) >= -CARE.ease
    assert max(levels) == 1.0


def test_new_thresholds_end_all_doubts(guarded, make_stage):
    hop = guarded()
    hop.shifted(300)
    hop.bench.happen(LadderInstalled(ladder(make_stage(threshold=0.9, reference=reference()), "r2")))
    assert (hop.vigil.standing, hop.vigil.doubts, hop.vigil.caution) == (Standing.UNKNOWN, {}, 0.0)
    assert hop.bench.hop.ladders._rungs["kws", "r2"][0].gate.threshold == 0.9


def test_where_thresholds_may_not_move_only_the_standing_is_told(guarded):
    hop = guarded(care=msgspec.structs.replace(CARE, most=1.0))
    hop.shifted(300)
    assert hop.vigil.standing is Standing.CAREFUL
    assert hop.bench.hop.ladders._rungs["kws", "r1"][0].gate.threshold == 0.8


def test_out_of_care_it_spends_half_of_a_budget_and_leaves_the_rest_to_the_unsure(guarded, the_only):
    hop = guarded(uplink=UplinkSettings(bytes=Allowance(1.0, 40_000.0), in_flight=100_000))
    hop.shifted(300)
    hop.bench.hop.uplink._bytes.level = 15_000.0
    answer = the_only(hop.ask(0.85), Reply).answer
    assert (answer.reason, answer.trail[-1].reason) == ("spared", "spared")
    assert the_only(hop.ask(0.5), AskAbove).question.id == f"q{hop.asked}"


def test_audits_that_agree_less_than_recorded_make_it_careful(guarded):
    hop = guarded(reference=reference(agreement=0.97))
    for index in range(60):
        hop.vigil.audited(RecordAudit("kws", "answer", 0.02, agreed=index % 3 > 0))
    hop.bench.tick()
    assert hop.told()[-1] == ("careful", ("disagreement",))


def test_audits_that_agree_as_recorded_leave_it_in_peace(guarded):
    hop = guarded(reference=reference(agreement=0.9))
    chance = np.random.default_rng(1)
    for _ in range(400):
        hop.vigil.audited(RecordAudit("kws", "answer", 0.02, agreed=bool(chance.random() < 0.92)))
    assert (hop.vigil.standing, hop.vigil.doubts) == (Standing.UNKNOWN, {})


def test_without_audits_no_disagreement_is_over(guarded):
    hop = guarded(reference=reference(agreement=0.97))
    for _ in range(20):
        hop.vigil.audited(RecordAudit("kws", "answer", 0.02, agreed=False))
    for _ in range(200):
        hop.vigil.audited(RecordAudit("kws", "answer", 0.02, agreed=None))
    hop.usual(500)
    assert "disagreement" in hop.vigil.doubts


def test_audits_reach_the_vigil_from_the_hop(guarded):
    hop = guarded(reference=reference(agreement=0.999), settings={"audit_share": 1.0}, models=())
    for _ in range(30):
        hop.ask(0.95)
        hop.answer()  # it says "yes" as well
    assert "disagreement" not in hop.vigil.doubts
    for _ in range(30):
        hop.ask(0.95)
        hop.bench.happen(Answered(hop.bench.answer_above(f"q{hop.asked}", outcome=Outcome.DROPPED)))
    assert "disagreement" in hop.vigil.doubts
    found = hop.bench.hop.audits.agreements.said()["kws"].agreement
    assert found.low < 0.5 < found.high


def test_a_question_that_cant_be_read_is_drift_and_never_easy(guarded):
    hop = guarded()
    for _ in range(300):
        hop.ask(float("nan"))
    assert "confidence_drift" in hop.vigil.doubts


def test_how_far_it_is_from_its_reference_is_told_now_and_then(guarded):
    hop = guarded()
    hop.usual(256)
    told = [each for each in hop.bench.seen if isinstance(each, RecordDistances)]
    assert len(told) == 2
    assert told[-1].distances["confidence"] < 0.3


@pytest.mark.parametrize("standing", list(Standing))
@pytest.mark.parametrize("sign", [Sign.INSTALLED, Sign.BARE])
def test_new_thresholds_may_come_in_every_state(standing, sign):
    assert STANDINGS.after(standing, sign) in (Standing.UNKNOWN, Standing.UNGUARDED)


def test_what_the_table_does_not_know_cannot_happen():
    with pytest.raises(IllegalTransition):
        STANDINGS.after(Standing.STEADY, Sign.EASED)


@pytest.mark.parametrize(
    ("gate", "kind", "usual", "careful"),
    [("confidence", "classes", 0.9, 0.99), ("margin", "classes", 0.5, 0.95), ("entropy", "classes", 0.3, 0.03),
     ("spread", "estimate", 2.0, 0.2), ("confidence", "classes", 1.0, 1.0), ("always", "classes", None, None)],
)  # fmt: skip
def test_ten_times_less_doubt_is_that_for_every_gate(gate, kind, usual, careful):
    made = Gate(LadderStage(name="s", kind=kind, gate=GateSpec(gate, usual)))
    made.be_careful(10.0)
    assert made.threshold == (pytest.approx(careful) if careful is not None else None)
    made.be_careful(1.0)
    assert made.threshold == usual


@pytest.mark.parametrize(("gate", "usual", "surest"), [("confidence", 1.0, (1.0, 0.0)), ("entropy", 0.0, (1.0, 0.0))])
def test_where_no_doubt_is_allowed_the_careful_ask_about_all(gate, usual, surest):
    made = Gate(LadderStage(name="s", kind="classes", gate=GateSpec(gate, usual)))
    assert made.decide(ClassScores(surest)).verdict is Verdict.ANSWER
    made.be_careful(2.0)
    assert made.decide(ClassScores(surest)).reason == "careful"
    assert made.as_usual(ClassScores(surest)).reason == "sure"


def test_a_careful_gate_says_as_usual_what_the_release_would_say():
    gate = Gate(LadderStage(name="s", kind="estimate", gate=GateSpec("spread", 1.0)))
    gate.be_careful(4.0)
    estimate = Estimate((1.0,), (0.5,))
    assert gate.decide(estimate).reason == "careful"
    assert (gate.as_usual(estimate).reason, gate.decide(estimate).reason) == ("sure", "careful")


def test_the_same_events_are_judged_the_same_way(guarded):
    def told(make: Callable) -> list:
        hop = make()
        hop.shifted(300)
        hop.usual(300)
        return hop.bench.seen

    assert told(guarded) == told(guarded)
