"""Ladders scored on recordings: exactly what the gates would have said, question by question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.errors import BundleRejected
from cascade.inference.gate import Gate
from cascade.inference.recordings import BadRecording, Recordings, StageRecord
from cascade.inference.scoring import NOBODY, UNKNOWN, climb, score, weighed
from cascade.messages import Verdict
from cascade.release.ladder import GateSpec, LadderStage

LABELS = ("a", "b", "c")
ALWAYS = GateSpec("always")


def stage(scores, tier="edge", name="s", **more):
    scores = np.asarray(scores)
    count = len(scores)
    usual = {
        "tier": tier, "name": name, "kind": "classes", "labels": LABELS[: scores.shape[1]], "model": name,
        "stage_digest": "0" * 64, "columns": {"scores": scores}, "ran": np.ones(count, bool), "ms": np.ones(count),
        "joules": np.full(count, 0.5),
    }  # fmt: skip
    return StageRecord(**{**usual, **more})


def recordings(*stages, label=None, size=100):
    count = stages[0].samples
    label = np.zeros(count, int) if label is None else np.asarray(label)
    return Recordings(
        task="t", stages=stages, label_names=LABELS, label=label, input_bytes=np.full(count, size), max_input_bytes=size
    )


def by_the_gates(taken, gates):
    """As a hop does it: one question after the other, one gate after the other."""
    made = [
        Gate(LadderStage(name=each.name, kind=each.kind, gate=spec, labels=each.labels))
        for each, spec in zip(taken.stages, gates, strict=True)
    ]
    answered = []
    for index in range(taken.samples):
        guess, found = NOBODY, None
        for number, (each, gate) in enumerate(zip(taken.stages, made, strict=True)):
            decision = gate.decide(each.prediction(index))
            if decision.reason != "unreadable":
                guess = number
            last = number == len(made) - 1 and decision.reason != "unreadable"
            if decision.verdict is not Verdict.CLIMB or last:
                found = number
                break
        answered.append(guess if found is None else found)
    return answered


NUMBER = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, 0.5, float("nan"), 1.5, -0.25]))
ROWS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=12, max_size=12)
GATE = st.one_of(
    st.sampled_from([ALWAYS, GateSpec("never")]),
    st.builds(GateSpec, st.sampled_from(["confidence", "margin", "entropy"]), st.floats(0, 1)),
    st.builds(GateSpec, st.just("confidence"), st.sampled_from([0.5, 1.0]), st.just(("a",))),
)


@given(rows=st.lists(ROWS, min_size=2, max_size=3), gates=st.tuples(GATE, GATE, GATE), wide=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_scored_ladder_is_what_the_gates_say_one_by_one(rows, gates, wide):
    dtype = np.float64 if wide else np.float32
    tiers = ("edge", "edge", "cloud")
    stages = [stage(np.array(each, dtype), tiers[i], f"s{i}") for i, each in enumerate(rows)]
    taken = recordings(*stages)
    spec = gates[: len(stages)]
    assert score(taken, spec).answered_by.tolist() == by_the_gates(taken, spec)


def test_what_climbs_a_link_is_paid_for_and_what_does_not_is_not():
    below = stage([[0.9, 0.1], [0.6, 0.4]])
    above = stage([[1.0, 0.0], [0.0, 1.0]], "cloud", "big")
    scored = score(recordings(below, above, label=[0, 1]), [GateSpec("confidence", 0.8), ALWAYS])
    assert scored.answered_by.tolist() == [0, 1]
    assert scored.device_bytes.tolist() == [0, 100]
    assert scored.device_joules.tolist() == [0.5, 0.5]
    assert scored.all_joules.tolist() == [0.5, 1.0]
    assert scored.right.tolist() == [1.0, 1.0]
    assert scored.shares() == {"edge/s": 0.5, "cloud/big": 0.5}


def test_two_stages_of_one_tier_cost_no_bytes_between_them():
    unsure = [[0.5, 0.5]]
    taken = recordings(stage(unsure), stage(unsure, name="second"), stage(unsure, "fog"), stage(unsure, "cloud"))
    sent = score(taken, [GateSpec("never"), GateSpec("never"), GateSpec("never"), ALWAYS])
    assert sent.asked_above.tolist() == [2]
    assert sent.device_bytes.tolist() == [100]
    assert sent.all_bytes.tolist() == [200]


def test_a_stage_that_was_never_run_is_unknown_and_not_a_guess():
    above = stage([[1.0, 0.0], [0.0, 1.0]], "cloud", ran=np.array([True, False]))
    scored = score(recordings(stage([[0.5, 0.5], [0.5, 0.5]]), above), [GateSpec("confidence", 0.9), ALWAYS])
    assert scored.answered_by.tolist() == [1, UNKNOWN]
    assert np.isnan(scored.right[1])


def test_what_the_top_cant_read_falls_back_to_the_word_below():
    scored = score(
        recordings(stage([[0.6, 0.4]]), stage([[np.nan, 1.0]], "cloud")), [GateSpec("confidence", 0.9), ALWAYS]
    )
    assert scored.answered_by.tolist() == [0]


def test_other_kinds_than_classes_are_scored_through_their_gates_too():
    below = stage(
        [[0.5, 0.5]] * 2, kind="anomaly", labels=(), columns={"score": np.array([0.9, 0.55]), "limit": np.full(2, 0.5)}
    )
    above = stage([[0.5, 0.5]] * 2, "cloud", kind="anomaly", labels=(), columns=below.columns)
    assert score(recordings(below, above), [GateSpec("confidence", 0.5), ALWAYS]).answered_by.tolist() == [0, 1]
    spread = stage(
        [[0.5, 0.5]] * 2,
        kind="estimate",
        labels=(),
        columns={"values": np.ones((2, 1)), "spreads": np.array([[1], [9]])},
    )
    assert weighed(spread, GateSpec("spread", 2.0)).sure(2.0).tolist() == [True, False]
    found = stage(
        [[0.5, 0.5]] * 2,
        kind="detections",
        labels=(),
        columns={
            "nothing": np.array([0.95, 0.2]),
            "count": np.array([1, 0]),
            "label": np.array([1]),
            "found": np.array([0.9]),
            "box": np.array([[0.0, 0.0, 0.5, 0.5]]),
        },
    )
    assert weighed(found, GateSpec("confidence", 0.8)).sure(0.8).tolist() == [True, False]
    assert found.taken(np.array([1, 0])).prediction(1) == found.prediction(0)


def test_a_gate_that_a_stage_cant_have_is_refused():
    with pytest.raises(BundleRejected, match="no labels noise to drop"):
        weighed(stage([[0.5, 0.5]]), GateSpec("always", None, ("noise",)))
    with pytest.raises(BadRecording, match="1 gates for 2"):
        score(recordings(stage([[0.5, 0.5]]), stage([[0.5, 0.5]], "cloud")), [ALWAYS])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: recordings(stage([[0.5, 0.5]], "cloud"), stage([[0.5, 0.5]], "edge")), "from the device up"),
        (lambda: recordings(stage([[0.5, 0.5]]), stage([[0.5, 0.5]])), "one name"),
        (lambda: recordings(stage([[0.5, 0.5]]), label=[7]), "label without a name"),
        (lambda: recordings(stage([[0.5, 0.5]], ms=np.ones(3))), "other counts than 1 in ms"),
        (lambda: recordings(stage([[0.5, 0.5]], labels=("a",))), "2 scores for 1 labels"),
        (lambda: recordings(stage([[0.5, 0.5]], kind="poem")), "no columns"),
        (lambda: recordings(stage(np.zeros((0, 2)))), "without a sample"),
        (lambda: replace(recordings(stage([[0.5, 0.5]])), notes={"repeated": "some"}), "repeated samples"),
        (lambda: replace(recordings(stage([[0.5, 0.5]])), notes={"repeated": "nan"}), "repeated samples"),
        (lambda: recordings(stage([[0.5, 0.5]]), size=-1), "input bytes"),
    ],
)
def test_a_recording_that_does_not_hold_together_is_refused(make, said):
    with pytest.raises(BadRecording, match=said):
        make()


def test_climbing_at_other_thresholds_reads_the_predictions_only_once():
    taken = recordings(stage([[0.9, 0.1], [0.6, 0.4]]), stage([[1.0, 0.0], [0.0, 1.0]], "cloud"))
    stages = [weighed(taken.stages[0], GateSpec("confidence", 0.5)), weighed(taken.stages[1], ALWAYS)]
    assert [climb(taken, stages, [at, None]).answered_by.tolist() for at in (0.5, 0.7, 0.95)] == [
        [0, 0],
        [0, 1],
        [1, 1],
    ]
