"""The arithmetic of the benchmarks: ratios within rounds, shares of a sorted row, pictures, bodies for peers."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.growth.picture import Panel, drawn
from benchmarks.peers import bodies
from benchmarks.rounds import Effort, Figures, beside, quantile, quartiles

SVG = "{http://www.w3.org/2000/svg}"


def figures(per_s: float, cpu: float = 1.0) -> Figures:
    return Figures(per_s, cpu, 1.0, 1.0)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    rounds = {"ours": [figures(20), figures(300), figures(40)], "theirs": [figures(10), figures(100), figures(10)]}
    assert beside(rounds, "ours")["theirs"]["times_as_many_per_s"] == 3.0


def test_a_share_of_a_row_is_one_of_its_values():
    assert quantile([5.0, 1.0, 3.0, 2.0, 4.0], 0.99) == 5.0
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == {"p25": 1.0, "p50": 2.0, "p75": 3.0}


def test_a_quick_run_asks_little_and_never_nothing():
    assert Effort(quick=True).of(6000, 32) == 120
    assert Effort(quick=True).of(100, 32) == 32
    assert Effort().of(6000) == 6000


def test_a_picture_is_svg_with_a_line_for_each_row_and_names_escaped():
    panel = Panel("p99 & more", {"busy": [1.0, 20.0, 300.0], "paced": [1.0, 2.0, 3.0]})
    flat = Panel("memory", {"RSS": [90.0, 91.0, 92.0]}, from_zero=True)
    root = ElementTree.fromstring(drawn("devices", [1, 10, 100], [panel, flat], "one machine"))
    assert len(root.findall(f"{SVG}polyline")) == 3
    assert "p99 & more" in [text.text for text in root.findall(f"{SVG}text")]


def test_a_line_that_never_changes_is_drawn_all_the_same():
    assert "polyline" in drawn("devices", [1, 10], [Panel("flat", {"a": [5.0, 5.0]})], "")


@pytest.mark.parametrize("at", [0, 3, 9])
def test_scores_in_an_open_inference_answer_are_found_in_either_place(at):
    scores = np.zeros(10, np.float32)
    scores[at] = 1.0
    named = bodies._field(1, b"scores") + bodies._field(2, b"FP32")
    raw = bodies._field(5, named) + bodies._field(6, scores.tobytes())
    inside = bodies._field(5, named + bodies._field(5, bodies._field(6, scores.tobytes())))
    assert bodies.scores_v2(raw) == bodies.scores_v2(inside) == scores.tolist()
