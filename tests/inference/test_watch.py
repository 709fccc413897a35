"""What happens on a stream before there is a question."""

from __future__ import annotations

from cascade.inference.watch import Ask, Look, Looked, Sampled, SensorOff, SensorOn, Watch, WatchSettings, WatchTicked


def feed(watch: Watch, samples: str, now: float = 0.0) -> list:
    return [effect for sample in samples for effect in watch.handle(Sampled(sample), now)]


def look(watch: Watch, sample: str, something: bool, now: float = 0.0) -> list:
    effects = watch.handle(Sampled(sample), now)
    assert [type(effect) for effect in effects] == [Look]
    return watch.handle(Looked(something), now)


def test_by_itself_every_sample_is_a_question():
    assert feed(Watch(WatchSettings()), "ab") == [Ask(("a",)), Ask(("b",))]


def test_windows_overlap_by_their_step():
    watch = Watch(WatchSettings(window=3, step=2))
    assert feed(watch, "abcdefg") == [Ask(("a", "b", "c")), Ask(("c", "d", "e")), Ask(("e", "f", "g"))]


def test_what_came_just_before_goes_along():
    watch = Watch(WatchSettings(pre_roll=2, looks=True))
    assert feed(watch, "ab") == []
    look(watch, "c", False)
    assert look(watch, "d", True) == [Ask(("b", "c", "d"))]


def test_it_asks_when_it_was_told_so_often_enough_in_a_row():
    watch = Watch(WatchSettings(patience=2, looks=True))
    assert look(watch, "a", True) == []
    assert look(watch, "b", False) == []
    assert look(watch, "c", True) == []
    assert look(watch, "d", True) == [Ask(("d",))]


def test_after_a_question_it_cools_down():
    watch = Watch(WatchSettings(cool_down_s=5.0))
    assert feed(watch, "a", now=10.0) == [Ask(("a",))]
    assert feed(watch, "b", now=14.0) == []
    assert feed(watch, "c", now=15.0) == [Ask(("c",))]


def test_what_is_dropped_is_counted():
    watch = Watch(WatchSettings(looks=True))
    look(watch, "a", False)
    look(watch, "b", False)
    assert watch.dropped == 2


def test_while_a_window_is_looked_at_samples_gather():
    watch = Watch(WatchSettings(looks=True))
    assert watch.handle(Sampled("a"), 0.0) == [Look(("a",))]
    assert watch.handle(Sampled("b"), 0.0) == []
    assert watch.handle(Looked(True), 0.0) == [Ask(("a",)), Look(("b",))]


def test_a_cheap_sensor_switches_an_expensive_one_on_and_off():
    watch = Watch(WatchSettings(looks=True, wakes="camera", awake_s=10.0))
    assert SensorOn("camera") in look(watch, "a", True, now=100.0)
    assert SensorOn("camera") not in look(watch, "b", True, now=105.0)
    assert watch.wakes_at == 115.0
    assert watch.handle(WatchTicked(), 114.0) == []
    assert watch.handle(WatchTicked(), 115.0) == [SensorOff("camera")]
    assert watch.wakes_at is None
