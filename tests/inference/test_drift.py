"""Drift: noticed soon where it is real, seldom where it is not; and what can't be read is seen too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.inference.detector import Detector, bets_that_more_fail, fair
from cascade.inference.drift import BLOCK, DriftWatch
from cascade.inference.references import shape_of
from cascade.release.reference import Reference, shape_mistakes

SELDOM = 20_000.0


def reference(recorded, cues=(), **more) -> Reference:
    shapes = tuple(shape_of(cue) for cue in cues)
    usual = {"tier": "edge", "stage": "small", "bundle": "0" * 64, "gate": "confidence"}
    return Reference(**usual, confidence=shape_of(recorded), cues=shapes, **more)


def noticed(watch: DriftWatch, confidences, cues=None) -> tuple[int, list[str]] | None:
    """After how many questions, and what."""
    for index, confidence in enumerate(confidences.tolist()):
        if watch.note(confidence, () if cues is None else tuple(cues[index])) and (found := watch.drifted()):
            return index + 1, found
    return None


def test_the_same_distribution_is_seldom_called_drift():
    """Runs of 2,000 questions: even if alarms came as often as they may, of 100 runs 10 would have one."""
    alarms = 0
    for seed in range(100):
        chance = np.random.default_rng(seed)
        watch = DriftWatch(reference(chance.beta(8, 1, 400)), (), SELDOM)
        alarms += noticed(watch, chance.beta(8, 1, 2000)) is not None
    assert alarms <= 10


def test_a_field_within_the_tolerance_is_seldom_called_drift():
    """One question in a hundred is of another kind than any that was recorded."""
    alarms = 0
    for seed in range(50):
        chance = np.random.default_rng(seed)
        watch = DriftWatch(reference(chance.beta(8, 1, 2000)), (), SELDOM)
        field = np.where(chance.random(2000) < 0.01, 0.05, chance.beta(8, 1, 2000))
        alarms += noticed(watch, field) is not None
    assert alarms <= 5


@pytest.mark.parametrize("to", [(3, 1), (3, 2), (40, 1)], ids=["less sure", "unsure", "surer"])
def test_a_real_shift_of_confidences_is_noticed_within_200_questions(to):
    late = 0
    for seed in range(30):
        chance = np.random.default_rng(seed)
        watch = DriftWatch(reference(chance.beta(8, 1, 1000)), (), SELDOM)
        found = noticed(watch, chance.beta(*to, 400))
        late += found is None or found[0] > 200
    assert late <= 3


def test_drift_of_the_input_is_told_apart_from_drift_of_confidences():
    chance = np.random.default_rng(1)
    recorded = chance.beta(8, 1, 1000)
    watch = DriftWatch(reference(recorded, chance.normal(size=(2, 1000))), ("mean", "deviation"), SELDOM)
    cues = chance.normal(loc=(0.0, 1.0), size=(400, 2))
    at, found = noticed(watch, chance.beta(8, 1, 400), cues)
    assert at <= 200
    assert found == ["input_deviation"]
    assert watch.distances()["input_deviation"] > 0.25 > watch.distances()["confidence"]


def test_what_cant_be_read_is_drift_too():
    chance = np.random.default_rng(2)
    watch = DriftWatch(reference(chance.beta(8, 1, 1000)), (), SELDOM)
    field = np.where(chance.random(400) < 0.3, np.nan, chance.beta(8, 1, 400))
    assert noticed(watch, field)[0] <= 100


def test_a_sensor_that_says_the_same_every_time_is_noticed():
    chance = np.random.default_rng(3)
    watch = DriftWatch(reference(chance.beta(8, 1, 1000), [chance.normal(size=1000)]), ("mean",), SELDOM)
    stuck = np.full((400, 1), 0.01)
    assert noticed(watch, chance.beta(8, 1, 400), stuck)[0] <= 100


def test_missing_cues_are_no_crash_and_become_drift():
    chance = np.random.default_rng(4)
    watch = DriftWatch(reference(chance.beta(8, 1, 1000), [chance.normal(size=1000)]), ("mean",), SELDOM)
    found = [watch.drifted() for _ in range(20 * BLOCK) if watch.note(0.9, ())]
    assert ["input_mean"] in [each[-1:] for each in found]


def test_a_quantised_model_says_few_numbers_and_is_watched_all_the_same():
    chance = np.random.default_rng(5)
    said = np.array([0.5, 0.75, 0.99609375])
    recorded = chance.choice(said, 1000, p=[0.1, 0.2, 0.7])
    watch = DriftWatch(reference(recorded), (), SELDOM)
    assert noticed(watch, chance.choice(said, 2000, p=[0.1, 0.2, 0.7])) is None
    assert noticed(watch, chance.choice(said, 400, p=[0.3, 0.3, 0.4]))[0] <= 200


def test_so_few_recorded_samples_that_chance_explains_it_are_no_drift():
    watch = DriftWatch(reference(np.full(3, 0.9)), (), SELDOM)
    assert noticed(watch, np.random.default_rng(6).beta(8, 1, 1000)) is None


def test_constant_and_unreadable_recordings_make_shapes_that_hold_together():
    for values in ([1.0] * 50, [float("nan")] * 50, [0.0, 1.0] * 25, [float("inf"), 0.5]):
        shape = shape_of(np.array(values))
        assert shape_mistakes(shape) == []
        assert shape.samples == len(values)
        DriftWatch(reference(np.array(values)), (), SELDOM)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(any), st.floats(0, 0.2), st.integers(1, 10**6))
def test_no_bet_wins_in_the_long_run_on_the_recorded_shares(counts, tolerance, samples):
    shares = np.array(counts) / sum(counts)
    pays = np.exp(np.linspace(-3, 3, len(counts))[:, None] * np.array([[1.0, -1.0, 0.5]]))
    assert np.all(shares @ fair(pays, shares, samples, tolerance) <= 1.0 + 1e-9)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3, 0.95])
def test_bets_that_more_fail_win_nothing_where_as_many_or_fewer_fail(share):
    bets = bets_that_more_fail(share)
    for fails in (0.0, share / 2, share):
        assert np.all(np.array([1.0 - fails, fails]) @ bets <= 1.0 + 1e-9)


def test_a_rise_of_disagreement_is_noticed_and_a_steady_one_is_not():
    chance = np.random.default_rng(7)
    waits = []
    for _ in range(50):
        detector = Detector(bets_that_more_fail(0.03), 2000.0)
        waits.append(next(n for n in range(10_000) if detector.alarmed(np.array([int(chance.random() < 0.2)]))))
    assert np.median(waits) < 50
    false = 0
    for _ in range(50):
        detector = Detector(bets_that_more_fail(0.03), 2000.0)
        false += any(detector.alarmed(np.array([int(chance.random() < 0.03)])) for _ in range(200))
    assert false <= 5
