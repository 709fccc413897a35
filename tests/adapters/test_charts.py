"""Charts without a library: scales with round ticks, and SVG that any viewer reads."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.adapters.charts import Axis, Bar, Dot, Line, Note, Panel, drawn


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), st.booleans())
def test_an_axis_holds_its_values_and_has_a_few_ticks(values, from_zero):
    values = [abs(value) for value in values] if from_zero else values
    axis = Axis.around("x", values, from_zero=from_zero)
    assert axis.low <= min(values) + 1e-6 * axis_span(axis)
    assert axis.high >= max(values) - 1e-6 * axis_span(axis)
    assert 2 <= len(axis.ticks()) <= 11


def axis_span(axis):
    return max(1.0, axis.high - axis.low)


def test_a_scale_ends_where_nothing_can_be_beyond():
    assert Axis.around("right, %", [93.1, 99.7], at_most=100.0).high == 100.0


def test_words_in_a_chart_cant_break_it():
    axis = Axis("a < b & c", 0.0, 1.0)
    marks = [
        Line([(0, 0), (1, 1)], name="<x>"),
        Dot(0.5, 0.5, name="&", up=(0.4, None)),
        Bar(0, 1, 0.5),
        Note(0, 0, "<"),
    ]
    svg = drawn([Panel("t & u", axis, axis, marks)], ["<about>"])
    assert "a < b & c" in "".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("panels", [1, 3, 5])
def test_panels_stand_in_rows(panels):
    axis = Axis("x", 0.0, 1.0)
    root = ElementTree.fromstring(drawn([Panel("p", axis, axis, [])] * panels))
    assert int(root.get("width")) == min(panels, 3) * 402
