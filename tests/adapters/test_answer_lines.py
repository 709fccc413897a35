"""Answers read back from their lines of JSON."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.adapters.answer_json import answer_line
from cascade.adapters.answer_lines import answer_of, answers_in
from cascade.errors import PeerError
from cascade.messages import (
    AnomalyScore,
    Answer,
    ClassScores,
    Detection,
    Detections,
    Energy,
    Estimate,
    Outcome,
    Prediction,
    Step,
    Verdict,
)

PREDICTIONS: list[Prediction | None] = [
    None,
    ClassScores((0.25, 0.75)),
    Estimate((1.0,), (0.5,)),
    AnomalyScore(0.75, 0.25),
    Detections((Detection(2, 0.5, (0.0, 0.25, 0.5, 1.0)),), 0.125),
]
STEP = Step(
    node="barn.cam1", tier="edge", stage="small", model="abc", verdict=Verdict.CLIMB, reason="unsure",
    confidence=0.5, threshold=0.75, ms=1.5, joules=0.25, energy=Energy.ESTIMATED, bytes_up=12, sent="hidden", guess="x",
)  # fmt: skip


def answer(**more: object) -> Answer:
    said: dict[str, object] = {
        "id": "q1", "device": "barn.cam1", "digest": b"", "stream": "cam", "sequence": 3, "task": "digits",
        "release": "r1", "outcome": Outcome.ANSWERED, "reason": "sure", "trail": (STEP, STEP),
    }  # fmt: skip
    return Answer(**said | more)  # type: ignore[arg-type]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_was_written_is_read_again(prediction: Prediction | None, outcome: Outcome) -> None:
    named = {"label": "x", "tier": "fog"} if prediction is not None else {}
    given = answer(prediction=prediction, outcome=outcome, provisional=True, repeated=True, retry_ms=5.0, **named)
    assert answer_of(answer_line(given)) == given


def test_a_number_that_was_not_finite_is_none_that_can_be_read() -> None:
    read = answer_of(answer_line(answer(prediction=ClassScores((math.nan, 1.0)), label="x", tier="edge")))
    assert isinstance(read.prediction, ClassScores)
    assert math.isnan(read.prediction.scores[0])


def test_what_a_later_version_adds_is_passed_over() -> None:
    line = json.loads(answer_line(answer(prediction=ClassScores((1.0,)), label="x", tier="edge")))
    line |= {"more": 1, "prediction": {"kind": "poem"}}
    assert answer_of(json.dumps(line).encode()).prediction is None


@given(st.binary(max_size=200))
def test_rubbish_is_told_and_raises_nothing_else(line: bytes) -> None:
    with pytest.raises(PeerError):
        answer_of(line)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_a_prediction_of_any_other_shape_is_told(prediction: object) -> None:
    line = json.loads(answer_line(answer())) | {"prediction": {"kind": "detections", "found": prediction}}
    with pytest.raises(PeerError):
        answer_of(json.dumps(line).encode())


def test_a_line_that_is_no_answer_is_named_and_one_that_was_not_written_whole_is_the_end() -> None:
    good = answer_line(answer())
    assert len(list(answers_in(io.BytesIO(good + b"\n" + good + good[:50]), "out"))) == 2
    with pytest.raises(PeerError, match="out, line 2"):
        list(answers_in(io.BytesIO(good + b"hello\n" + good), "out"))
    with pytest.raises(PeerError, match="out, line 1"):
        list(answers_in(io.BytesIO(b"hello"), "out"))
