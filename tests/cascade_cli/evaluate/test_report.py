"""How figures are told beside each other."""

from __future__ import annotations

import pytest

from cascade_cli.evaluate.intervals import Figure
from cascade_cli.evaluate.report import _times_fewer


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (Figure(1.0, 1.0, 1.0), "as many bytes"),
        (Figure(4.0, 3.0, 5.0), "4.00× fewer bytes (3.00–5.00)"),
        (Figure(4.0, 4.0, 4.0), "4.00× fewer bytes"),
        (Figure(0.5, 0.25, 0.8), "2.00× as many bytes (1.25–4.00)"),
        (Figure(1.0, 0.9, 1.1), "1.00× fewer bytes (0.9–1.10)"),
    ],
)
def test_how_many_times_fewer_is_told_with_limits_where_there_are_any(figure, said):
    assert _times_fewer(figure, "bytes") == said
