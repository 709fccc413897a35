"""The table of metrics, and its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascade import metrics
from cascade.metrics import BY_NAME, CLOSED, EXPRESSIONS, ROWS, Kind
from cascade.metrics_page import page

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"


def test_the_page_says_what_the_table_says():
    assert PAGE.read_text() == page(), "make it again: the command stands in cascade/metrics_page.py"


def test_no_two_rows_have_one_name():
    assert len(BY_NAME) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_keeps_to_the_conventions(row):
    assert re.fullmatch(r"cascade_[a-z0-9_]+", row.name)
    assert row.name.endswith("_total") == (row.kind is Kind.COUNTER)
    assert row.labels[0] == "tier"
    assert not {"device", "le", "quantile", "job", "instance"} & set(row.labels)
    assert row.help.endswith(".")
    assert bool(row.buckets) == (row.kind is Kind.HISTOGRAM)
    assert list(row.buckets) == sorted(set(row.buckets))


def test_latencies_from_a_tenth_of_a_millisecond_to_a_minute_are_told_apart():
    assert metrics.LATENCY.buckets[0] == 0.0001
    assert metrics.LATENCY.buckets[-1] == 60.0


def test_expressions_name_only_rows_labels_and_values_that_there_are():
    for expression in EXPRESSIONS:
        for name in re.findall(r"cascade_[a-z_]+", expression.promql):
            assert name in BY_NAME or name.removesuffix("_bucket") in BY_NAME
        for label, values in re.findall(r'(\w+)=~?"([^"]+)"', expression.promql):
            assert set(values.split("|")) <= CLOSED[label]
