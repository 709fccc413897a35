"""`examples/digits`: the release of the demo, and of the README's fifteen lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.adapters.world import InMemoryCascade

RELEASE = Path(__file__).resolve().parents[2] / "examples/digits/release"


@pytest.mark.parametrize("level", [0, 16, 255])
def test_a_lens_that_is_covered_or_blinded_is_no_digit(level):
    with InMemoryCascade(RELEASE) as cascade:
        answer = cascade.ask(np.full((8, 8), level, np.uint8))
    assert (answer.outcome, answer.reason) == ("refused", "bad_input")


def test_every_digit_that_the_demo_replays_is_read():
    pytest.importorskip("sklearn")
    from cascade_cli.demo.digits import splits

    with InMemoryCascade(RELEASE) as cascade:
        assert {cascade.ask(image).outcome for image in splits()[2].images} == {"answered"}
