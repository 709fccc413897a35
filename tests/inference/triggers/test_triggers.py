"""Triggers: what they hear, what they don't, and what they make of nonsense."""

from __future__ import annotations

import math
from statistics import median, quantiles
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cascade.errors import BadInput
from cascade.inference.triggers import TRIGGERS, Trigger
from cascade.inference.triggers.activity import FeelsActivity
from cascade.inference.triggers.change import SeesChange
from cascade.inference.triggers.motion import SeesMotion
from cascade.inference.triggers.sound_level import HearsLoudness
from cascade.inference.triggers.spec import Activity, AnyTrigger, Change, Motion, SoundLevel, Voice
from cascade.inference.triggers.trigger import MOST, Hysteresis
from cascade.inference.triggers.voice import HearsVoice

SPECS: list[AnyTrigger] = [SoundLevel(), Voice(rate_hz=8000), Motion(), Activity(on_at=1.0), Change()]
RATE = 8000
DICE = np.random.default_rng(6)


def tone(hertz: float, share: float, rows: int = 256) -> np.ndarray:
    return (share * 32767 * np.sin(2 * np.pi * hertz * np.arange(rows) / RATE)).astype(np.int16)


def noise(share: float, rows: int = 256) -> np.ndarray:
    return (share * 32767 * DICE.normal(size=rows)).astype(np.int16)


def test_what_wavers_between_the_two_levels_changes_nothing() -> None:
    hysteresis = Hysteresis(on_at=3.0, off_at=1.0)
    assert [hysteresis.hear(level) for level in (2.9, 3.0, 2.0, 1.0, 0.9, 2.0, 4.0)] == [
        False, True, True, True, False, False, True,
    ]  # fmt: skip


def test_a_level_that_is_none_is_never_nothing() -> None:
    assert Hysteresis(on_at=3.0, off_at=1.0).hear(math.nan)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_usual_of_a_trigger_can_go_on_and_off(spec: AnyTrigger) -> None:
    assert not spec.mistakes()
    hysteresis = Hysteresis(spec.on_at, spec.falls_at)
    assert [hysteresis.hear(level) for level in (MOST, max(spec.lowest, -MOST))] == [True, False]


def test_activity_that_ends_is_over() -> None:
    trigger = Trigger(Activity(on_at=0.5, settle=1000))
    heard = [trigger.hear({"x": np.array([0.0, 0.0, reading])}) for reading in [9.8] * 50 + [14.8] + [9.8] * 9]
    assert (heard.index(True), heard[-1]) == (50, False)


@pytest.mark.parametrize("shape", [(), (1,), (1, 512), (4, 4, 4)])
def test_what_has_no_loudness_is_not_silence(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="expected 2 rows or more"):
        HearsLoudness(SoundLevel()).level(np.full(shape, 30_000, np.int16))


@pytest.mark.parametrize(("share", "level"), [(1.0, -3.01), (0.1, -23.01), (0.0, -120.0)])
def test_the_level_of_a_sine_is_its_root_mean_square(share: float, level: float) -> None:
    assert HearsLoudness(SoundLevel()).level(tone(1000, share)) == pytest.approx(level, abs=0.02)
    assert HearsLoudness(SoundLevel()).level(tone(1000, share) / 32767.5) == pytest.approx(level, abs=0.02)


def test_an_offset_is_no_sound_and_clipping_is_a_loud_one() -> None:
    hears = HearsLoudness(SoundLevel())
    assert hears.level(np.full(256, 20_000, np.int16)) == -120.0
    assert hears.level(np.where(tone(500, 1.0) > 0, 32767, -32768).astype(np.int16)) == pytest.approx(0.0, abs=0.1)


def test_a_voice_stands_above_the_noise_and_the_noise_does_not() -> None:
    hears = HearsVoice(Voice(rate_hz=RATE))
    background = [hears.level(noise(0.01)) for _ in range(60)]
    spoken = hears.level(noise(0.01) + tone(700, 0.2))
    below_the_band = hears.level(noise(0.01) + tone(60, 0.2))
    assert max(background) < 5.0
    assert spoken > 15.0
    assert below_the_band < 5.0


def test_a_noise_that_stays_becomes_background() -> None:
    hears = HearsVoice(Voice(rate_hz=RATE, rise_db_per_s=6.0))
    for _ in range(20):
        hears.level(noise(0.001))
    levels = [hears.level(noise(0.05)) for _ in range(300)]
    assert levels[0] > 15.0
    assert levels[-1] < 5.0


@pytest.mark.parametrize(("rise_db_per_s", "rate_hz"), [(3.0, RATE), (12.0, RATE), (3.0, 2 * RATE)])
def test_a_background_rises_by_so_much_in_a_second_of_sound(rise_db_per_s: float, rate_hz: int) -> None:
    hears = HearsVoice(Voice(rate_hz=rate_hz, rise_db_per_s=rise_db_per_s))
    hears.level(tone(700, 0.001))
    levels = [hears.level(tone(700, 0.3)) for _ in range(20)]
    falls = -np.diff(levels)
    assert falls == pytest.approx(rise_db_per_s * 256 / rate_hz, abs=1e-6)


def test_after_digital_silence_a_whisper_is_no_shout() -> None:
    hears = HearsVoice(Voice(rate_hz=RATE))
    for _ in range(10):
        hears.level(np.zeros(256, np.int16))
    assert hears.level(noise(0.0008)) < 9.0


def test_motion_is_the_share_of_cells_that_changed() -> None:
    sees = SeesMotion(Motion(cells=10))
    first = np.full((100, 100), 90, np.uint8)
    second = first.copy()
    second[:30, :20] = 200
    assert (sees.level(first), sees.level(second), sees.level(second)) == (0.0, pytest.approx(0.06), 0.0)


def test_a_lamp_is_no_motion_unless_it_shall_be() -> None:
    dark, light = np.full((48, 48), 50, np.uint8), np.full((48, 48), 150, np.uint8)
    for same_light, level in ((False, 0.0), (True, 1.0)):
        sees = SeesMotion(Motion(same_light=same_light))
        sees.level(dark)
        assert sees.level(light) == level


def test_the_noise_of_a_camera_is_no_motion() -> None:
    sees = SeesMotion(Motion())
    levels = [sees.level(DICE.normal(100, 8, (96, 96, 3)).clip(0, 255).astype(np.uint8)) for _ in range(10)]
    assert max(levels) < 0.005


@pytest.mark.parametrize("shape", [(3, 200), (1, 1), (200, 3), (7, 5, 3)])
def test_images_of_any_shape_are_seen(shape: tuple[int, ...]) -> None:
    sees = SeesMotion(Motion(cells=6, same_light=True))
    sees.level(np.zeros(shape, np.uint8))
    assert sees.level(np.full(shape, 255, np.uint8)) == 1.0


def test_gravity_is_no_activity_and_shaking_is() -> None:
    feels = FeelsActivity(Activity(on_at=0.5))
    still = [feels.level(np.array([0.0, 0.0, 9.81]) + DICE.normal(0, 0.02, (50, 3))) for _ in range(20)]
    shaken = feels.level(np.array([0.0, 0.0, 9.81]) + DICE.normal(0, 2.0, (50, 3)))
    assert max(still) < 0.1
    assert shaken == pytest.approx(2.0, rel=0.3)


@pytest.mark.parametrize("settle", [20, 100, 1000])
def test_activity_forgets_an_offset_over_as_many_readings_as_it_was_set(settle: int) -> None:
    feels = FeelsActivity(Activity(on_at=0.5, settle=settle))
    for _ in range(settle // 10):
        feels.level(np.zeros((10, 3)))
    levels = [feels.level(np.ones((10, 3))) for _ in range(8)]
    assert levels == pytest.approx([(1 - 10 / settle) ** looks for looks in range(8)])


@pytest.mark.parametrize("one_sensor", [True, False])
def test_a_sample_with_one_axis_is_a_stretch_or_a_reading_as_it_was_set(one_sensor: bool) -> None:
    feels = FeelsActivity(Activity(on_at=1.0, one_sensor=one_sensor))
    feels.level(np.array([1.0, 2.0, 3.0]))
    assert feels.level(np.array([1.0, 2.0, 3.0])) == (pytest.approx(math.sqrt(2 / 3)) if one_sensor else 0.0)


def test_change_is_counted_in_spreads_from_the_recent_median() -> None:
    sees, said = SeesChange(Change(memory=50, learn=20)), []
    numbers = DICE.normal(20.0, 0.5, 80).tolist()
    for at, number in enumerate(numbers):
        recent = numbers[max(0, at - 50) : at]
        level = sees.level(np.array(number))
        if len(recent) < 20:
            assert level == 0.0
            continue
        low, _, high = quantiles(recent, n=4, method="inclusive")
        assert level == pytest.approx(abs(number - median(recent)) / ((high - low) / 1.349))
        said.append(level)
    assert max(said) < 6.0
    assert sees.level(np.array(25.0)) > 6.0


def test_of_several_sensors_the_one_furthest_off_counts() -> None:
    sees = SeesChange(Change(learn=10, memory=30))
    for _ in range(30):
        sees.level(DICE.normal([0.0, 100.0], [1.0, 5.0]))
    assert sees.level(np.array([0.0, 200.0])) > 6.0


def test_what_stays_becomes_usual() -> None:
    sees = SeesChange(Change(learn=10, memory=30))
    for _ in range(30):
        sees.level(DICE.normal(0.0, 1.0, 1))
    levels = [sees.level(DICE.normal(40.0, 1.0, 1)) for _ in range(31)]
    assert levels[0] > 6.0
    assert levels[-1] < 6.0


def test_a_sensor_that_never_moved_has_no_spread_but_a_resolution() -> None:
    for least, level in ((0.0, MOST), (0.5, 2.0)):
        sees = SeesChange(Change(learn=5, memory=10, least_spread=least))
        with np.errstate(all="ignore"):
            assert [sees.level(np.array(3.0)) for _ in range(10)] == [0.0] * 10
            assert sees.level(np.array(4.0)) == level


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
@given(
    signals=st.lists(
        arrays.arrays(
            st.sampled_from([np.uint8, np.int16, np.float32, np.float64, np.bool_]),
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=20),
            elements={"allow_nan": False, "allow_infinity": False},
        ),
        max_size=4,
    )
)
def test_whatever_a_sensor_says_a_level_is_a_number_or_the_input_is_bad(spec: AnyTrigger, signals: list[Any]) -> None:
    listener = TRIGGERS[type(spec)](spec)
    for signal in signals:
        try:
            with np.errstate(all="ignore"):
                level = listener.level(signal)
        except BadInput:
            continue
        assert math.isfinite(level)


def test_a_sample_with_nothing_in_it_is_bad_input() -> None:
    with pytest.raises(BadInput, match="nothing in it"):
        Trigger(SoundLevel()).hear({"x": np.zeros((0, 3))})


def test_a_tensor_that_is_not_there_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no tensor 'sound' for the trigger; there are x"):
        Trigger(SoundLevel(tensor="sound")).hear({"x": np.zeros(4)})


def test_the_trigger_hears_the_tensor_that_it_was_told_to() -> None:
    trigger = Trigger(SoundLevel(tensor="sound"))
    assert trigger.hear({"image": np.zeros(4), "sound": tone(400, 0.5)})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (SoundLevel(on_at=-50.0), "off_at: found -45, expected on_at"),
        (Voice(rate_hz=300.0), "low_hz: found 200, expected less than half"),
        (Voice(rate_hz=16000.0, high_hz=100.0), "low_hz: found 200, expected less than high_hz"),
        (Change(learn=200), "learn: found 200, expected memory"),
        (Change(off_at=0.0), "off_at: found 0, expected more than 0: no level is lower"),
        (Motion(off_at=0.0), "off_at: found 0, expected more than 0: no level is lower"),
        (SoundLevel(off_at=-120.0), "off_at: found -120, expected more than -120"),
        (Motion(cells=1), "cells: found 1, expected more"),
    ],
)
def test_settings_that_contradict_each_other_are_told(spec: AnyTrigger, said: str) -> None:
    assert said in spec.mistakes()[0]


def test_every_trigger_has_a_line_in_the_table() -> None:
    assert set(TRIGGERS) == {type(spec) for spec in SPECS} == set(AnyTrigger.__args__)  # type: ignore[attr-defined]
    for spec in SPECS:
        assert msgspec.json.decode(msgspec.json.encode(spec), type=AnyTrigger) == spec
