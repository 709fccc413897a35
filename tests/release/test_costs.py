"""What a sample costs follows the settings of its stage: rate, resolution, sensors."""

from __future__ import annotations

from typing import Any

from cascade.adapters.energy.estimate import joules_of
from cascade.release.bundle import Costs, InputSpec, OutputSpec, StageSpec
from cascade.release.costs import whole_costs
from cascade.release.features import Feature
from cascade.release.preprocessing import Channels, LowPass, Resize
from cascade.release.spectra import LogMel


def stage(
    shape: tuple[int, ...], *features: Feature, dtype: str = "float32", more: tuple[InputSpec, ...] = (), **costs: Any
) -> StageSpec:
    return StageSpec(
        name="s",
        file="m",
        format="onnx",
        inputs=(InputSpec(tensor="x", shape=shape, dtype=dtype, features=features), *more),
        output=OutputSpec(kind="classes"),
        costs=Costs(**costs),
    )


def test_half_the_rate_is_half_the_model_and_the_price_of_the_low_pass() -> None:
    full = whole_costs(stage((1000,), multiply_adds=10_000, at_elements=1000))
    half = whole_costs(
        stage((1000,), LowPass(rate_hz=100, taps=21, keep_every=2, pad=True), multiply_adds=10_000, at_elements=1000)
    )
    assert (full.multiply_adds, full.preparing_multiply_adds) == (10_000, 0)
    assert (half.multiply_adds, half.preparing_multiply_adds) == (5_000, 500 * 21)


def test_an_image_of_half_the_sides_costs_a_quarter() -> None:
    costs = whole_costs(stage((96, 96), Resize(height=48, width=48), multiply_adds=8000, at_elements=96 * 96))
    assert costs.multiply_adds == 2000


def test_fewer_sensors_cost_less_to_ask_about_and_to_run() -> None:
    eight, two = (
        stage((100, 8), multiply_adds=800, at_elements=800),
        stage((100, 2), multiply_adds=800, at_elements=800),
    )
    assert (eight.asks_for, two.asks_for) == ({"x": 3200}, {"x": 800})
    assert joules_of(whole_costs(two)) < joules_of(whole_costs(eight)) / 3
    kept = whole_costs(stage((100, 8), Channels(keep=(0, 1)), multiply_adds=800, at_elements=800))
    assert kept.multiply_adds == 200


def test_a_model_that_was_not_counted_at_a_size_costs_what_was_declared() -> None:
    assert whole_costs(stage((500,), multiply_adds=777)).multiply_adds == 777


def test_the_bytes_of_the_sample_are_moved_and_those_of_its_features() -> None:
    raw = whole_costs(stage((1600,), dtype="int16", multiply_adds=1, bytes_moved=50))
    made = whole_costs(
        stage((1600,), LogMel(rate_hz=1600, frame=40, hop=40, bands=4), dtype="int16", multiply_adds=1, bytes_moved=50)
    )
    assert raw.bytes_moved == 50 + 3200
    assert made.bytes_moved == 50 + 3200 + 2 * 4 * (40 * 4)


def test_a_part_of_the_costs_is_not_shown_as_all_of_them() -> None:
    assert whole_costs(stage((1600,), LogMel(rate_hz=1600, frame=40, hop=40))) == Costs()


def test_what_is_not_in_the_question_is_not_counted_as_its_bytes() -> None:
    rate = InputSpec(tensor="rate", shape=(), model_input="rate", value=16000.0)
    assert stage((10,), more=(rate,)).asks_for == {"x": 40}


def test_a_tensor_of_which_two_inputs_are_made_is_asked_for_once() -> None:
    spectrum = InputSpec(tensor="x", shape=(10,), model_input="spectrum")
    assert stage((10,), more=(spectrum,)).asks_for == {"x": 40}
