"""From a model's numbers to predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cascade.inference.outputs import MAX_FOUND, UNREADABLE, UnreadableOutput, read_outputs
from cascade.messages import AnomalyScore, ClassScores, Detections, Estimate
from cascade.release.bundle import OutputSpec


def array(*rows: object) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def classes(rows: np.ndarray, activation: Any = "none", labels: int = 0) -> list[ClassScores]:
    found = read_outputs({"y": rows}, OutputSpec(kind="classes", activation=activation), labels, len(rows))
    assert all(isinstance(prediction, ClassScores) for prediction in found)
    return found  # type: ignore[return-value]


def test_softmax_makes_logits_into_probabilities() -> None:
    first, second = classes(array([0, 0], [1000, 0]), "softmax")
    assert first.scores == (0.5, 0.5)
    assert second.scores == (1.0, 0.0)


@given(arrays.arrays(np.float32, (3, 5), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_softmax_can_be_read_whatever_the_logits(logits: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        found = classes(logits, "softmax", labels=5)
    assert all(prediction.readable() and math.isclose(sum(prediction.scores), 1, rel_tol=1e-5) for prediction in found)


def test_one_sigmoid_for_two_labels_is_the_score_of_the_second() -> None:
    (found,) = classes(array([0.0]), "sigmoid", labels=2)
    assert found.scores == (0.5, 0.5)


def test_a_softmax_inside_the_model_may_exceed_one_by_a_rounding() -> None:
    (found,) = classes(array([1.0000002, 0.0]))
    assert found.readable()


def test_logits_without_an_activation_stay_unreadable() -> None:
    (found,) = classes(array([7.0, -3.0]))
    assert not found.readable()


def test_nan_stays_nan_and_spoils_its_own_sample_only() -> None:
    first, second = classes(array([math.nan, 0.0], [0.0, 0.0]), "softmax")
    assert not first.readable()
    assert second.readable()


def test_integer_scores_are_taken_as_numbers() -> None:
    found = read_outputs({"y": np.array([[3, 3]])}, OutputSpec(kind="classes", activation="softmax"), 2, 1)
    assert found == [ClassScores((0.5, 0.5))]


def test_values_and_spreads_share_one_output_half_and_half() -> None:
    found = read_outputs({"y": array([1, 2, 0.5, 0.25])}, OutputSpec(kind="estimate"), 0, 1)
    assert found == [Estimate((1.0, 2.0), (0.5, 0.25))]


def test_spreads_may_have_an_output_of_their_own() -> None:
    outputs = {"mean": array([1, 2]), "std": array([0.5, 0.25])}
    found = read_outputs(outputs, OutputSpec(kind="estimate", tensor="mean", spread_tensor="std"), 0, 1)
    assert found == [Estimate((1.0, 2.0), (0.5, 0.25))]


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1)])
def test_an_anomaly_score_is_one_number_a_sample_in_any_shape(shape: tuple[int, ...]) -> None:
    scores = np.array([0.25, 0.75], dtype=np.float32).reshape(shape)
    found = read_outputs({"y": scores}, OutputSpec(kind="anomaly", limit=0.7), 0, 2)
    assert found == [AnomalyScore(0.25, 0.7), AnomalyScore(0.75, 0.7)]


def detections(scores: object, boxes: object, labels: object, **spec: Any) -> Detections:
    outputs = {"scores": array(scores), "boxes": array(boxes), "labels": array(labels)}
    (found,) = read_outputs(outputs, OutputSpec(kind="detections", **spec), 0, 1)
    assert isinstance(found, Detections)
    return found


BOX = (0.0, 0.25, 0.5, 1.0)


def test_things_found_come_surest_first_and_unsure_ones_not_at_all() -> None:
    found = detections([0.6, 0.4, 0.9], [BOX] * 3, [1, 2, 3])
    assert [thing.label for thing in found.found] == [3, 1]


def test_what_is_left_over_from_the_surest_candidate_is_the_confidence_in_nothing() -> None:
    found = detections([0.25, 0.125], [BOX] * 2, [1, 2])
    assert found == Detections((), 0.75)


def test_boxes_that_begin_with_the_top_are_turned() -> None:
    found = detections([0.9], [(0.1, 0.2, 0.3, 0.4)], [0], box_order="top left bottom right")
    assert found.found[0].box == pytest.approx((0.2, 0.1, 0.4, 0.3))


def test_a_detector_that_fires_everywhere_is_bounded() -> None:
    assert len(detections([0.9] * 500, [BOX] * 500, [0] * 500).found) == MAX_FOUND


def test_a_detector_that_says_nan_can_not_be_read() -> None:
    assert not detections([math.nan, 0.9], [BOX] * 2, [math.nan, 1]).readable()


def test_a_detector_without_candidates_saw_nothing() -> None:
    outputs = {"scores": np.zeros((1, 0)), "boxes": np.zeros((1, 0, 4)), "labels": np.zeros((1, 0))}
    assert read_outputs(outputs, OutputSpec(kind="detections"), 0, 1) == [Detections((), 1.0)]


@pytest.mark.parametrize(
    ("outputs", "spec", "labels", "said"),
    [
        ({"y": array([1, 2, 3])}, OutputSpec(kind="classes"), 2, "3 scores for 2 labels"),
        ({"y": array([1], [2])}, OutputSpec(kind="classes"), 0, "for 1 samples"),
        ({"y": np.float32(1)}, OutputSpec(kind="classes"), 0, "for 1 samples"),
        ({"y": np.zeros((1, 0), np.float32)}, OutputSpec(kind="classes", activation="softmax"), 0, "no scores"),
        ({"y": array([1]), "z": array([1])}, OutputSpec(kind="classes"), 0, "names no output"),
        ({"y": array([1])}, OutputSpec(kind="classes", tensor="z"), 0, "no output is called 'z'"),
        ({"y": array([1, 2, 3])}, OutputSpec(kind="estimate"), 0, "1 values with 2 spreads"),
        ({"y": array([1, 2])}, OutputSpec(kind="anomaly"), 0, "2 numbers for one anomaly score"),
        (
            {"scores": array([1, 1]), "boxes": array([BOX]), "labels": array([1, 1])},
            OutputSpec(kind="detections"),
            0,
            "don't belong together",
        ),
    ],
)
def test_a_shape_that_is_not_what_was_said_is_the_models_failure(
    outputs: Any, spec: OutputSpec, labels: int, said: str
) -> None:
    with pytest.raises(UnreadableOutput, match=said):
        read_outputs(outputs, spec, labels, 1)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_stands_for_a_failed_prediction_can_not_be_read(kind: str) -> None:
    assert not UNREADABLE[kind].readable()


@pytest.mark.parametrize(
    ("spec", "outputs"),
    [
        (OutputSpec(kind="estimate"), {"y": np.array([[1.0, 0.5], [2.0, 0.5]])}),
        (OutputSpec(kind="anomaly"), {"y": np.array([[0.1], [0.9]])}),
        (
            OutputSpec(kind="detections"),
            {"boxes": np.zeros((2, 1, 4)), "scores": np.array([[0.9], [0.1]]), "labels": np.zeros((2, 1))},
        ),
    ],
)
def test_predictions_of_every_kind_carry_the_cues_of_their_inputs(spec, outputs):
    found = read_outputs(outputs, spec, 0, 2, cues=[(0.1, 0.2), (0.3, 0.4)])
    assert [each.cues for each in found] == [(0.1, 0.2), (0.3, 0.4)]
    assert all(each.readable() for each in found)
