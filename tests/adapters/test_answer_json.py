"""Answers as JSON."""

from __future__ import annotations

import json
import math

import pytest

from cascade.adapters.answer_json import answer_as_json, answer_line
from cascade.messages import (
    AnomalyScore,
    Answer,
    ClassScores,
    Detection,
    Detections,
    Estimate,
    Outcome,
    Prediction,
    Step,
    Verdict,
)


def answer(prediction: Prediction | None = None, **more: object) -> Answer:
    said: dict[str, object] = {
        "id": "q1", "device": "barn.cam1", "digest": b"\xff", "stream": "cam", "sequence": 3, "task": "digits",
        "release": "r1", "outcome": Outcome.ANSWERED, "reason": "sure", "prediction": prediction,
    }  # fmt: skip
    return Answer(**said | more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (ClassScores((0.25, 0.75)), {"kind": "classes", "best": 1, "scores": [0.25, 0.75]}),
        (Estimate((1.0,), (math.inf,)), {"kind": "estimate", "values": [1.0], "spreads": [None]}),
        (AnomalyScore(0.75), {"kind": "anomaly", "score": 0.75, "limit": 0.5, "anomalous": True}),
        (
            Detections((Detection(2, 0.5, (0.0, 0.0, 0.5, 1.0)),), math.nan),
            {
                "kind": "detections",
                "found": [{"class": 2, "score": 0.5, "box": [0.0, 0.0, 0.5, 1.0]}],
                "nothing": None,
            },
        ),
    ],
)
def test_each_kind_of_prediction_has_its_form(prediction: Prediction, said: dict[str, object]) -> None:
    assert answer_as_json(answer(prediction, label="x", tier="edge"))["prediction"] == said


def test_what_does_not_apply_is_left_out() -> None:
    refused = answer(outcome=Outcome.REFUSED, reason="overloaded", retry_ms=250.0)
    assert answer_as_json(refused) == {
        "id": "q1", "device": "barn.cam1", "stream": "cam", "sequence": 3, "task": "digits", "release": "r1",
        "outcome": "refused", "reason": "overloaded", "provisional": False, "correction": False, "repeated": False,
        "retry_ms": 250.0, "trail": [],
    }  # fmt: skip


def test_the_trail_says_who_did_what_and_where_its_joules_come_from() -> None:
    step = Step(
        node="barn.cam1", tier="edge", stage="small", model="abc", verdict=Verdict.CLIMB, reason="unsure",
        confidence=math.nan, threshold=0.8, ms=1.5,
    )  # fmt: skip
    (said,) = answer_as_json(answer(trail=(step,)))["trail"]
    assert (said["confidence"], said["threshold"], said["energy"]) == (None, 0.8, "unknown")


def test_a_step_says_what_went_up_only_where_it_was_not_the_input() -> None:
    step = Step(node="n", tier="edge", stage="exit2", model="a", verdict=Verdict.CLIMB, reason="unsure", sent="hidden")
    usual = Step(node="n", tier="edge", stage="exit1", model="a", verdict=Verdict.CLIMB, reason="unsure")
    first, second = answer_as_json(answer(trail=(step, usual)))["trail"]
    assert (first["sent"], "sent" in second) == ("hidden", False)


def test_a_line_is_strict_json_whatever_the_model_said() -> None:
    line = answer_line(answer(ClassScores((math.nan, math.inf, 1.0)), label="a\nb"))
    assert line.count(b"\n") == 1
    said = json.loads(line, parse_constant=lambda word: pytest.fail(word))
    assert said["prediction"]["scores"] == [None, None, 1.0]
