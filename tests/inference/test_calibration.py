"""Calibrations applied: what they keep, what they refuse to read, and that a batch is no different from its samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.inference.calibration import calibrator
from cascade.inference.cues import CUES, cues_of
from cascade.inference.outputs import read_outputs
from cascade.messages import ClassScores
from cascade.release.bundle import OutputSpec
from cascade.release.calibrated import Calibration

KEEPING = {
    "temperature": {"scale": (0.5,)},
    "platt": {"scale": (0.7,), "shift": (-0.4,)},
    "per_class": {"scale": (0.5, 1.0, 2.0), "shift": (0.0, -3.0, 1.0)},
    "isotonic": {"knots": (0.0, 0.5, 1.0), "values": (0.0, 0.2, 0.9)},
}


VECTOR = {"scale": (1.0, 0.5, 2.0), "shift": (0.0, 1.0, -1.0)}


def made(method, **parameters):
    usual = VECTOR if method == "vector" else KEEPING[method]
    return calibrator(Calibration(method=method, stage_digest="0" * 64, **(parameters or usual)))


SHARES = st.tuples(*[st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-12]))] * 3)


def normal(rows):
    array = np.array(rows)
    total = array.sum(axis=1, keepdims=True)
    return np.where(total > 0, array / np.where(total > 0, total, 1.0), [[1.0, 0.0, 0.0]])


@pytest.mark.parametrize("method", sorted(KEEPING))
@given(rows=st.lists(SHARES, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_the_best_class_stays_the_best_and_scores_stay_scores(method, rows):
    scores = normal(rows)
    bent = made(method)(scores)
    assert np.all((bent >= 0) & (bent <= 1))
    assert bent.sum(axis=1).max() <= 1.0 + 1e-9
    alone = np.sort(scores, axis=1)
    clear = alone[:, -1] > alone[:, -2] * (1 + 1e-9)
    assert np.array_equal(bent.argmax(axis=1)[clear], scores.argmax(axis=1)[clear])


@pytest.mark.parametrize("method", [*sorted(KEEPING), "vector"])
@given(rows=st.lists(SHARES, min_size=2, max_size=9))
@settings(max_examples=40, deadline=None)
def test_a_sample_is_bent_alike_alone_and_in_a_batch(method, rows):
    scores, bend = normal(rows).astype(np.float32), made(method)
    whole = bend(scores)
    alone = np.concatenate([bend(scores[i : i + 1]) for i in range(len(scores))])
    assert np.allclose(alone, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [*sorted(KEEPING), "vector"])
def test_what_cant_be_read_does_not_become_a_probability(method):
    bend = made(method)
    bent = bend(np.array([[0.2, 0.5, 0.3], [np.nan, 0.5, 0.5], [5.0, 0.0, 0.0], [-0.1, 0.6, 0.5]]))
    assert np.isnan(bent[1:]).all()
    assert not np.isnan(bent[0]).any()
    assert np.isnan(bend(np.array([[np.nan, 0.5, 0.5]]))).all()


def test_a_vector_may_choose_another_class():
    bend = made("vector", scale=(1.0, 1.0, 1.0), shift=(0.0, 3.0, 0.0))
    assert bend(np.array([[0.6, 0.3, 0.1]])).argmax() == 1


def test_a_confidence_of_exactly_one_is_doubted_like_any_other():
    certain = np.array([[1.0, 0.0, 0.0]])
    assert made("isotonic")(certain)[0, 0] == pytest.approx(0.9)
    floor = {"floor": 1 / 512}
    assert made("temperature", scale=(0.5,), **floor)(certain)[0, 0] < 0.95
    assert made("platt", scale=(0.5,), shift=(0.0,), **floor)(certain)[0, 0] < 0.97


def test_outputs_are_calibrated_where_they_become_predictions():
    outputs = {"y": np.array([[2.0, 0.0, 0.0]], np.float32)}
    spec = OutputSpec(kind="classes", activation="softmax")
    plain = read_outputs(outputs, spec, 3, 1)[0]
    bent = read_outputs(outputs, spec, 3, 1, made("temperature"), [(0.25,)])[0]
    assert isinstance(plain, ClassScores)
    assert isinstance(bent, ClassScores)
    assert bent.scores[0] == pytest.approx(np.e / (np.e + 2), abs=1e-6)
    assert (plain.cues, bent.cues) == ((), (0.25,))


def test_cues_are_numbers_of_each_input():
    batch = np.array([[[0.0, 0.0], [0.0, 0.0]], [[1.0, -3.0], [1.0, -3.0]]])
    assert cues_of(batch, sorted(CUES)) == [(0.0, 0.0, 0.0, 0.0), (2.0, 3.0, -1.0, 4.0)]
    assert cues_of(np.array([[7]], np.uint8), ["roughness"]) == [(0.0,)]
