"""Joules of a sensor that is switched on and off."""

from __future__ import annotations

from cascade.inference.sensor_energy import SensorEnergy, SensorSpent


def test_each_state_has_its_seconds_and_its_joules() -> None:
    energy = SensorEnergy(watts_on=2.0, watts_off=0.5)
    energy.begin(100.0, on=False)
    energy.switched(True, 110.0)
    energy.switched(False, 113.0)
    assert energy.spent(True, 120.0) == SensorSpent(3.0, 6.0)
    assert energy.spent(False, 120.0) == SensorSpent(17.0, 8.5)
    assert energy.switches == 1


def test_what_runs_is_counted_while_it_runs_and_not_after_the_end() -> None:
    energy = SensorEnergy(watts_on=1.0, watts_off=0.0)
    energy.begin(0.0, on=True)
    assert energy.spent(True, 4.0).seconds == 4.0
    energy.end(5.0)
    assert energy.spent(True, 50.0).seconds == 5.0


def test_switching_to_what_it_is_changes_nothing() -> None:
    energy = SensorEnergy(watts_on=1.0, watts_off=0.0)
    energy.begin(0.0, on=True)
    energy.switched(True, 3.0)
    assert (energy.spent(True, 5.0).seconds, energy.switches) == (5.0, 0)


def test_watts_that_nobody_set_are_not_nought() -> None:
    assert not SensorEnergy(0.0, 0.0).known
    assert SensorEnergy(0.0, 0.1).known
