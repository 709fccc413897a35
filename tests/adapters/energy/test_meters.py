"""The table of meters, and what each of them owes."""

from __future__ import annotations

import pytest

from cascade.adapters.energy import METERS, meter
from cascade.errors import SettingsError
from cascade.messages import Energy
from cascade.release.bundle import Costs


@pytest.mark.parametrize("name", METERS)
def test_every_meter_says_where_its_joules_come_from(name: str) -> None:
    gauge = meter(name)
    if gauge.missing():
        pytest.skip(str(gauge.missing()))
    joules, source = gauge.spent(gauge.begin(), Costs(multiply_adds=1000), 1)
    assert gauge.name == name
    assert joules >= 0.0
    assert source is not Energy.UNKNOWN


def test_an_unknown_meter_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'sundial': expected one of estimate"):
        meter("sundial")
