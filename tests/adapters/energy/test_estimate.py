"""Joules where nothing measures them."""

from __future__ import annotations

import pytest

from cascade.adapters.energy.estimate import EstimateMeter, radio_joules
from cascade.messages import Energy
from cascade.release.bundle import Costs


def spent(costs: Costs, samples: int = 1) -> tuple[float, Energy]:
    meter = EstimateMeter()
    return meter.spent(meter.begin(), costs, samples)


def test_an_int8_model_is_cheaper_than_the_same_in_floats_by_the_published_ratio() -> None:
    whole, small = spent(Costs(multiply_adds=10**9)), spent(Costs(multiply_adds=10**9, bits=8))
    assert whole == (pytest.approx(2.7e-3), Energy.ESTIMATED)
    assert small == (pytest.approx(0.12e-3), Energy.ESTIMATED)


def test_moving_bytes_costs_too() -> None:
    assert spent(Costs(bytes_moved=10**6))[0] == pytest.approx(125e-6)


def test_a_batch_costs_as_many_times_as_it_has_samples() -> None:
    assert spent(Costs(multiply_adds=1000), 64)[0] == pytest.approx(64 * spent(Costs(multiply_adds=1000))[0])


def test_a_model_of_unknown_costs_has_unknown_joules_and_not_zero() -> None:
    assert spent(Costs()) == (0.0, Energy.UNKNOWN)


def test_a_radio_whose_cost_nobody_set_is_unknown() -> None:
    assert radio_joules(1000, 0.0) == (0.0, Energy.UNKNOWN)
    assert radio_joules(1000, 1e-6) == (pytest.approx(1e-3), Energy.ESTIMATED)
