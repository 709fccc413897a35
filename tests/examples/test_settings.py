"""Settings of the examples: what somebody copies from there is what they should have."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
AUDITING = ("bring_your_own", "indoor_location", "keywords", "pump_anomaly", "spoken_digits")


@pytest.mark.parametrize("example", AUDITING)
def test_a_device_asks_above_about_some_of_what_it_settles(example):
    assert tomllib.loads((EXAMPLES / example / "edge.toml").read_text())["audit"]["share"] == 0.01
