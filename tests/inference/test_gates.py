"""Each gate: what it reads, when it is sure, and that nothing unreadable is ever easy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import BundleRejected
from cascade.inference.cues import CUES, cues_of
from cascade.inference.gate import Gate
from cascade.inference.gates import GATES
from cascade.inference.gates.deferral import count_of_numbers
from cascade.messages import AnomalyScore, ClassScores, Detection, Detections, Estimate, Verdict
from cascade.release.ladder import Deferral, GateSpec, LadderStage

SOMETHING = Detection(0, 0.9, (0.1, 0.1, 0.5, 0.5))


def gate(
    name: str, threshold: float | None = None, kind: str = "classes", drop: tuple[str, ...] = (), labels=()
) -> Gate:
    return Gate(LadderStage(name="stage", kind=kind, gate=GateSpec(name, threshold, drop), labels=labels))


@pytest.mark.parametrize(
    ("made", "prediction", "verdict", "confidence"),
    [
        (gate("confidence", 0.8), ClassScores((0.1, 0.9)), Verdict.ANSWER, 0.9),
        (gate("confidence", 0.9), ClassScores((0.1, 0.9)), Verdict.ANSWER, 0.9),
        (gate("confidence", 0.95), ClassScores((0.1, 0.9)), Verdict.CLIMB, 0.9),
        (gate("confidence", 0.5, "anomaly"), AnomalyScore(0.9, 0.6), Verdict.ANSWER, 0.75),
        (gate("confidence", 0.5, "anomaly"), AnomalyScore(0.59, 0.6), Verdict.CLIMB, 0.0167),
        (gate("confidence", 0.8, "detections"), Detections((SOMETHING,), 0.95), Verdict.ANSWER, 0.9),
        (gate("confidence", 0.8, "detections"), Detections((SOMETHING,), 0.5), Verdict.CLIMB, 0.5),
        (gate("confidence", 0.8, "detections"), Detections((), 0.3), Verdict.CLIMB, 0.3),
        (gate("margin", 0.5), ClassScores((0.2, 0.75, 0.05)), Verdict.ANSWER, 0.55),
        (gate("margin", 0.5), ClassScores((0.5, 0.5)), Verdict.CLIMB, 0.0),
        (gate("margin", 0.5), ClassScores((0.9,)), Verdict.ANSWER, 0.8),
        (gate("entropy", 0.5), ClassScores((1.0, 0.0)), Verdict.ANSWER, 0.0),
        (gate("entropy", 0.5), ClassScores((0.5, 0.5)), Verdict.CLIMB, 1.0),
        (gate("spread", 2.0, "estimate"), Estimate((5.0, 6.0), (1.0, 1.5)), Verdict.ANSWER, 1.5),
        (gate("spread", 1.0, "estimate"), Estimate((5.0, 6.0), (1.0, 1.5)), Verdict.CLIMB, 1.5),
        (gate("always"), ClassScores((0.5, 0.5)), Verdict.ANSWER, 0.5),
        (gate("never"), ClassScores((1.0, 0.0)), Verdict.CLIMB, 1.0),
    ],
)
def test_a_gate_is_sure_on_one_side_of_its_threshold(made, prediction, verdict, confidence):
    decision = made.decide(prediction)
    assert decision.verdict is verdict
    assert decision.confidence == pytest.approx(confidence, abs=1e-3)


@pytest.mark.parametrize(("name", "verdict"), [("always", Verdict.ANSWER), ("never", Verdict.CLIMB)])
@pytest.mark.parametrize(
    ("kind", "prediction"),
    [("estimate", Estimate((5.0,), (9.0,))), ("anomaly", AnomalyScore(0.5)), ("detections", Detections((), 0.1))],
)
def test_a_gate_without_a_threshold_says_no_confidence_where_the_prediction_has_none(name, verdict, kind, prediction):
    decision = gate(name, kind=kind).decide(prediction)
    assert (decision.verdict, decision.confidence, decision.threshold) == (verdict, None, None)


def test_an_empty_detection_is_never_easy_unless_it_is_sure_of_nothing():
    made = gate("confidence", 0.8, "detections")
    assert made.decide(Detections((), 0.2)).verdict is Verdict.CLIMB
    assert made.decide(Detections((), 0.99)).verdict is Verdict.ANSWER


def test_a_sure_one_of_the_labels_to_drop_is_dropped():
    made = gate("confidence", 0.8, drop=("silence",), labels=("silence", "word"))
    assert made.decide(ClassScores((0.9, 0.1))).verdict is Verdict.DROP
    assert made.decide(ClassScores((0.1, 0.9))).verdict is Verdict.ANSWER
    assert made.decide(ClassScores((0.6, 0.4))).verdict is Verdict.CLIMB


ANYTHING = st.floats(allow_nan=True, allow_infinity=True)


@given(scores=st.lists(ANYTHING, max_size=5), threshold=st.floats(0, 1), name=st.sampled_from(["confidence", "margin"]))
def test_what_cant_be_read_climbs_whatever_the_gate(scores, threshold, name):
    decision = gate(name, threshold).decide(ClassScores(tuple(scores)))
    if not all(0.0 <= score <= 1.0 for score in scores) or not scores:
        assert (decision.verdict, decision.reason) == (Verdict.CLIMB, "unreadable")


@given(values=st.lists(ANYTHING, max_size=4), spreads=st.lists(ANYTHING, max_size=4))
def test_estimates_with_nan_or_without_spread_climb(values, spreads):
    decision = gate("spread", 1e9, "estimate").decide(Estimate(tuple(values), tuple(spreads)))
    readable = len(values) == len(spreads) > 0 and all(map(math.isfinite, values + spreads)) and min(spreads) >= 0
    if not readable:
        assert decision.verdict is Verdict.CLIMB


def lenient(name: str) -> Gate:
    """As sure as its threshold can make it."""
    measure = GATES[name]
    if name == "deferral":
        return learned_gate()
    return gate(name, (1.0 if measure.sure_below else 0.0) if measure.needs_threshold else None)


def learned_gate(gain: float = 1.0, loss: float = 1.0) -> Gate:
    """Of two classes and a cue, which alone says something."""
    count = count_of_numbers(2, 1)
    weights = [tuple([0.0] * (count - 1) + [weight]) for weight in (gain, loss)]
    learned = Deferral(gain=weights[0], loss=weights[1], cues=1)
    spec = GateSpec("deferral", 1.0, (), learned)
    return Gate(LadderStage(name="stage", kind="classes", gate=spec, labels=("no", "yes")))


@pytest.mark.parametrize("name", sorted(name for name, measure in GATES.items() if ClassScores in measure.reads))
@pytest.mark.parametrize(
    "nan", [ClassScores((math.nan, 0.2), (0.0,)), ClassScores((), (0.0,)), Estimate((1.0,), (1.0,))]
)
def test_no_gate_answers_nan_or_another_kind_of_prediction(name, nan):
    assert lenient(name).decide(nan).verdict is Verdict.CLIMB


@pytest.mark.parametrize("weights", [(1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (0.0, 0.0)])
@pytest.mark.parametrize("cue", [math.nan, math.inf, -math.inf])
def test_a_learned_gate_is_not_sure_where_a_cue_is_no_number(cue, weights):
    decision = learned_gate(*weights).decide(ClassScores((0.1, 0.9), (cue,)))
    assert decision.verdict is Verdict.CLIMB


@pytest.mark.parametrize("loudest", [1e20, 3.4e38])
def test_a_learned_gate_is_not_sure_of_an_input_that_is_far_from_all_that_it_learned_from(loudest):
    sample = np.zeros((1, 64), np.float32)
    sample[0, 7] = loudest
    with np.errstate(over="ignore"):
        cues = [cues_of(sample, [name])[0] for name in CUES]
    assert learned_gate().decide(ClassScores((0.1, 0.9), (1.0,))).verdict is Verdict.ANSWER
    for cue in cues:
        assert learned_gate().decide(ClassScores((0.1, 0.9), cue)).verdict is Verdict.CLIMB


@pytest.mark.parametrize("scores", [(1e-6, 1e-12, 1e-12), (1e-320, 0.0), (0.0, 0.0), (0.3, 0.0, 0.0)])
def test_entropy_is_not_sure_of_scores_that_say_it_is_no_class(scores):
    assert gate("entropy", 1.0).decide(ClassScores(scores)).verdict is Verdict.CLIMB


def test_entropy_reads_scores_that_were_given_class_by_class():
    assert gate("entropy", 0.5).decide(ClassScores((0.9, 0.01, 0.0))).verdict is Verdict.ANSWER
    assert gate("entropy", 1.0).decide(ClassScores((0.5, 0.0))).verdict is Verdict.ANSWER


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "confident", "threshold": 0.5}, "no gate 'confident'; there are always, confidence"),
        ({"name": "confidence"}, "needs a threshold"),
        ({"name": "confidence", "threshold": math.nan}, "needs a threshold"),
        ({"name": "spread", "threshold": 1.0}, "can't read classes"),
        ({"name": "deferral", "threshold": 0.1}, "needs what it has learned"),
        ({"name": "always", "kind": "poem"}, "no prediction of kind 'poem'"),
        ({"name": "always", "drop": ("noise",), "labels": ("a",)}, "no labels noise to drop"),
    ],
)
def test_a_gate_that_cant_be_is_refused_with_the_reason(settings, said):
    with pytest.raises(BundleRejected, match=said):
        gate(**settings)
