"""What happens on a stream before there is a question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.inference.features import apply_features
from cascade.inference.features.streaming import WindowFeatures
from cascade.inference.gate import Gate
from cascade.inference.triggers import Trigger
from cascade.inference.triggers.spec import Activity, SoundLevel
from cascade.inference.watch import MOST_BEHIND, Watch
from cascade.inference.watch_thread import Looks
from cascade.inference.watch_words import (
    Ask,
    Interrupted,
    Look,
    Looked,
    Sampled,
    SensorOff,
    SensorOn,
    WatchSettings,
    WatchTicked,
)
from cascade.messages import ClassScores, Prediction
from cascade.release.ladder import GateSpec, LadderStage
from cascade.release.preprocessing import Normalise
from cascade.release.spectra import LogMel

SOMETHING, NOTHING, UNSURE = ClassScores((0.05, 0.95)), ClassScores((0.95, 0.05)), ClassScores((0.45, 0.55))
NAN = ClassScores((float("nan"), 0.5))


def looks(features: WindowFeatures | None = None) -> Looks:
    stage = LadderStage(name="s", kind="classes", gate=GateSpec("confidence", 0.8, ("no",)), labels=("no", "yes"))
    return Looks(Gate(stage), features)


def watch_of(model: bool = False, trigger: Trigger | None = None, **more: Any) -> Watch:
    return Watch(WatchSettings(**more), trigger, looks() if model else None)


def sampled(*numbers: float) -> Sampled:
    return Sampled({"x": np.array(numbers)})


def shown(effects: list[Any]) -> list[Any]:
    """Asks and looks as the numbers in them."""
    return [
        each.window["x"].tolist()
        if isinstance(each, Ask)
        else ("look", each.window["x"].tolist())
        if isinstance(each, Look)
        else each
        for each in effects
    ]


def feed(watch: Watch, *numbers: float, now: float = 0.0) -> list[Any]:
    return shown([effect for number in numbers for effect in watch.handle(sampled(number), now)])


def look(watch: Watch, number: float, said: Prediction | None, now: float = 0.0) -> list[Any]:
    effects = watch.handle(sampled(number), now)
    assert [type(effect) for effect in effects] == [Look]
    return shown(watch.handle(Looked(said), now))


def test_by_itself_every_sample_is_a_question():
    assert feed(watch_of(), 1, 2) == [[1.0], [2.0]]


def test_windows_overlap_by_their_step():
    asked = feed(watch_of(window=3, step=2), 1, 2, 3, 4, 5, 6, 7)
    assert asked == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]


def test_what_came_just_before_goes_along():
    watch = watch_of(model=True, pre_roll=2)
    assert feed(watch, 1, 2) == []
    look(watch, 3, NOTHING)
    assert look(watch, 4, SOMETHING) == [[2, 3, 4]]


def test_what_comes_just_after_goes_along_and_the_question_waits_for_it():
    watch = watch_of(model=True, pre_roll=1, post_roll=2)
    feed(watch, 1)
    assert look(watch, 2, SOMETHING) == []
    assert look(watch, 3, SOMETHING) == []
    effects = watch.handle(sampled(4), 0.0)
    assert shown(effects) == [("look", [4]), [1, 2, 3, 4]]


def test_it_asks_when_it_was_told_so_often_enough_in_a_row():
    watch = watch_of(model=True, patience=2)
    told = [look(watch, number, said) for number, said in enumerate([SOMETHING, NOTHING, SOMETHING, SOMETHING])]
    assert told == [[], [], [], [[3]]]


def test_after_a_question_it_cools_down():
    watch = watch_of(cool_down_s=5.0)
    assert feed(watch, 1, now=10.0) == [[1]]
    assert feed(watch, 2, now=14.0) == []
    assert feed(watch, 3, now=15.0) == [[3]]


def test_what_lasts_is_asked_once_until_it_was_gone():
    watch = watch_of(model=True, once=True)
    told = [look(watch, number, said) for number, said in enumerate([SOMETHING, SOMETHING, NOTHING, SOMETHING])]
    assert told == [[[0]], [], [], [[3]]]


def test_what_is_dropped_is_counted():
    watch = watch_of(model=True)
    look(watch, 1, NOTHING)
    look(watch, 2, UNSURE)
    assert (watch.counts.dropped, watch.counts.looks, watch.counts.asked) == (2, 2, 0)


@pytest.mark.parametrize("said", [None, NAN, ClassScores((0.1, 0.1, 0.8))], ids=["failed", "nan", "another shape"])
def test_a_look_that_can_not_be_read_is_a_reason_to_ask(said: Prediction | None):
    watch = watch_of(model=True)
    assert look(watch, 1, said) == [[1]]
    assert watch.counts.failed == 1


def test_a_window_that_the_model_refuses_is_counted_as_bad_and_not_as_nothing_alone():
    watch = watch_of(model=True)
    watch.handle(sampled(1), 0.0)
    assert watch.handle(Looked(None, bad_input=True), 0.0) == []
    assert (watch.counts.bad["bad_input"], watch.counts.failed) == (1, 0)


def test_while_a_window_is_looked_at_samples_gather_and_none_is_left_out():
    watch = watch_of(model=True)
    assert feed(watch, 1, 2, 3) == [("look", [1])]
    assert shown(watch.handle(Looked(SOMETHING), 0.0)) == [[1], ("look", [2])]
    assert shown(watch.handle(Looked(NOTHING), 0.0)) == [("look", [3])]


def test_a_model_that_is_too_slow_is_given_what_is_new():
    watch = watch_of(model=True)
    feed(watch, *range(MOST_BEHIND + 12))
    assert watch.looking
    after = shown(watch.handle(Looked(NOTHING), 0.0))
    assert after == [("look", [11])]
    assert watch.counts.skipped == 10


def test_scores_are_smoothed_so_that_one_odd_window_is_no_word():
    watch = watch_of(model=True, smooth=3)
    odd = [look(watch, number, said) for number, said in enumerate([NOTHING, SOMETHING, NOTHING, NOTHING])]
    word = [look(watch, number, said) for number, said in enumerate([SOMETHING, SOMETHING, SOMETHING])]
    assert odd == [[]] * 4
    assert word == [[], [], [[2]]]


def test_nothing_is_said_before_there_is_enough_to_smooth():
    watch = watch_of(model=True, smooth=3)
    assert [look(watch, number, SOMETHING) for number in range(3)] == [[], [], [[2]]]


def test_what_a_model_carries_comes_with_the_next_window():
    watch = watch_of(model=True)
    first = watch.handle(sampled(1), 0.0)[0]
    state = {"state": np.array([7.0])}
    watch.handle(Looked(NOTHING, state), 0.0)
    second = watch.handle(sampled(2), 0.0)[0]
    assert (first.carried, second.carried) == ({}, state)


@pytest.mark.parametrize("gap", [Interrupted(), sampled(float("nan")), sampled(1, 2)], ids=["off", "nan", "misfit"])
def test_nothing_spans_a_gap(gap: Any):
    watch = watch_of(model=True, window=2)
    feed(watch, 1, 2)
    watch.handle(Looked(SOMETHING, {"state": np.array([7.0])}), 0.0)
    assert watch.handle(gap, 0.0) == []
    assert feed(watch, 5) == []
    (again,) = watch.handle(sampled(6), 0.0)
    assert (again.window["x"].tolist(), again.carried) == ([5, 6], {})


def test_what_a_model_says_of_a_window_from_before_a_gap_is_not_heard():
    watch = watch_of(model=True)
    feed(watch, 1)
    watch.handle(Interrupted(), 0.0)
    assert feed(watch, 2) == []
    assert shown(watch.handle(Looked(SOMETHING), 0.0)) == [("look", [2])]
    assert shown(watch.handle(Looked(SOMETHING), 0.0)) == [[2]]


def test_numbers_that_are_none_are_counted_and_never_looked_at():
    watch = watch_of(model=True)
    for bad in (float("nan"), float("inf"), float("-inf")):
        assert watch.handle(sampled(1.0, bad), 0.0) == []
    assert watch.counts.bad["not_finite"] == 3


def test_a_cheap_sensor_switches_an_expensive_one_on_and_off():
    watch = watch_of(model=True, wakes="camera", awake_s=10.0)
    assert SensorOn("camera") in look(watch, 1, SOMETHING, now=100.0)
    assert SensorOn("camera") not in look(watch, 2, SOMETHING, now=105.0)
    assert watch.wakes_at == 115.0
    assert watch.handle(WatchTicked(), 114.0) == []
    assert watch.handle(WatchTicked(), 115.0) == [SensorOff("camera")]
    assert watch.wakes_at is None


QUIET, LOUD = [0.0, 0.001, 0.0, 0.001], [0.9, -0.9, 0.9, -0.9]


def test_a_model_looks_only_at_what_a_trigger_lets_pass():
    watch = watch_of(model=True, trigger=Trigger(SoundLevel()), window=2)
    effects = [watch.handle(sampled(*numbers), 0.0) for numbers in (QUIET, QUIET, LOUD)]
    assert [len(each) for each in effects] == [0, 0, 1]
    assert watch.counts.dropped == 1
    assert len(effects[2][0].window["x"]) == 8


def test_what_a_trigger_heard_between_two_windows_is_not_missed():
    watch = watch_of(trigger=Trigger(SoundLevel()), step=3)
    asked = [watch.handle(sampled(*numbers), 0.0) for numbers in (QUIET, LOUD, QUIET, QUIET, QUIET, QUIET, QUIET)]
    assert [len(each) for each in asked] == [0, 0, 0, 1, 0, 0, 0]


def test_what_was_heard_counts_for_as_long_as_it_is_held():
    watch = watch_of(trigger=Trigger(SoundLevel()), hold=2)
    asked = [len(watch.handle(sampled(*numbers), 0.0)) for numbers in (QUIET, LOUD, QUIET, QUIET, QUIET)]
    assert asked == [0, 1, 1, 1, 0]


def test_a_model_looks_while_what_was_heard_is_in_its_window():
    watch = watch_of(model=True, trigger=Trigger(SoundLevel()), window=3)
    looked = []
    for numbers in (QUIET, QUIET, QUIET, LOUD, QUIET, QUIET, QUIET, QUIET):
        looked.append(len(watch.handle(sampled(*numbers), 0.0)))
        watch.handle(Looked(NOTHING), 0.0)
    assert looked == [0, 0, 0, 1, 1, 1, 1, 0]


def test_a_muted_sensor_is_counted():
    watch = watch_of(trigger=Trigger(SoundLevel()))
    same = [0.0, 0.1, 0.2]
    for numbers in ([0.0, 0.0, 0.0], same, same):
        watch.handle(sampled(*numbers), 0.0)
    assert watch.counts.bad["flat"] == 2


def test_rows_are_counted_however_many_come_at_once():
    stream = np.arange(40.0)
    wanted = [stream[begin : begin + 10].tolist() for begin in range(0, 31, 4)]
    for cuts in ([], [1, 2, 3], [7, 7, 23], list(range(1, 40))):
        watch = watch_of(by="row", window=6, step=4, pre_roll=3, post_roll=1)
        asked = [each for part in np.split(stream, cuts) for each in watch.handle(Sampled({"x": part}), 0.0)]
        assert shown(asked) == wanted


@given(
    cuts=st.lists(st.integers(0, 500), max_size=15),
    window=st.integers(60, 90),
    step=st.sampled_from([5, 10, 20, 33, 120]),
    silent=st.sets(st.integers(0, 40)),
)
@settings(max_examples=50, deadline=None)
def test_features_computed_as_the_rows_come_are_those_of_each_window(
    cuts: list[int], window: int, step: int, silent: set[int]
):
    features = (Normalise(divide=32768.0), LogMel(rate_hz=1000, frame=30, hop=10, bands=6))
    sound = np.random.default_rng(step).integers(-9000, 9000, 500).astype(np.int16)
    watch = Watch(
        WatchSettings(by="row", window=window, step=step),
        Trigger(Activity(on_at=1.0, one_sensor=True)),
        looks(WindowFeatures(features, window, step)),
    )
    for index, part in enumerate(np.split(sound, sorted(cuts))):
        effects = watch.handle(Sampled({"x": part * (index not in silent)}), 0.0)
        while effects:
            (effect,) = effects
            expected = apply_features(effect.window["x"][None], features)
            assert effect.features.tobytes() == expected.tobytes()
            effects = watch.handle(Looked(NOTHING), 0.0)


@given(st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), max_size=40), st.integers(1, 5), st.integers(1, 4))
def test_the_same_events_have_the_same_effects(numbers: list[float], window: int, step: int):
    def run() -> list[Any]:
        watch = watch_of(model=True, trigger=Trigger(Activity(on_at=0.1)), window=window, step=step, pre_roll=2)
        effects = []
        for at, number in enumerate(numbers):
            effects += shown(watch.handle(sampled(number), float(at)))
            effects += shown(watch.handle(Looked(SOMETHING if at % 3 else NOTHING), float(at)))
        return [*effects, watch.counts.dropped, watch.counts.looks]

    assert run() == run()


def test_memory_is_bounded_however_long_the_stream_and_the_model_hangs():
    watch = watch_of(model=True, by="row", window=10, step=5, pre_roll=20)
    for _ in range(1000):
        watch.handle(Sampled({"x": np.zeros(7)}), 0.0)
    assert len(watch._memory._parts) < (2 * MOST_BEHIND * 5 + 30) / 7 + 2
    again = watch.handle(Looked(SOMETHING), 0.0)
    assert [type(each) for each in again] == [Look]
