"""Cues: cheap numbers of inputs, the same as numpy's slower words for them."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.inference.cues import CUES, cues_of

BATCH = np.random.default_rng(0).normal(3.0, 2.0, (5, 6, 7)).astype(np.float32)
ROWS = BATCH.reshape(5, -1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", ROWS.mean(axis=1)),
        ("deviation", ROWS.std(axis=1)),
        ("largest", np.abs(ROWS).max(axis=1)),
        ("roughness", np.abs(np.diff(ROWS, axis=1)).mean(axis=1)),
    ],
)
def test_each_cue_is_what_its_name_says(name, expected):
    assert [cue for (cue,) in cues_of(BATCH, [name])] == pytest.approx(expected.tolist(), rel=1e-6)


def test_a_sample_has_a_tuple_of_plain_numbers_in_the_order_that_was_asked_for():
    found = cues_of(BATCH, ["largest", "mean"])
    assert len(found) == 5
    assert [type(cue) for cue in found[0]] == [float, float]
    assert found[0][0] == pytest.approx(np.abs(ROWS[0]).max())


def test_one_number_a_sample_constant_and_missing_ones_are_no_crash():
    for batch in (np.ones((2, 1)), np.full((2, 4), np.nan), np.zeros((2, 3), np.int8)):
        assert [len(cue) for cue in cues_of(batch, list(CUES))] == [4, 4]
    assert cues_of(np.ones((1, 4)), ["deviation", "roughness"]) == [(0.0, 0.0)]
