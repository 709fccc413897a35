"""How far confidence and accuracy lie apart: the expected calibration error with an interval, and a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade.adapters.charts import COLOURS, INK, Axis, Dot, Line, Mark, Panel, drawn

Array = npt.NDArray[Any]

BINS = 15
RESAMPLES = 300
_UPPER = 0.975


class Bin(NamedTuple):
    confidence: float
    accuracy: float
    samples: int


class Reliability(NamedTuple):
    """Expected calibration error over bins of equally many samples, with a 95 % interval.

    The error is a sum of absolute values, and so of few samples too large by itself, in each resample once more. The
    lower end takes that off (the basic bootstrap's), the upper doesn't (the percentile's): it is wide enough.
    """

    error: float
    low: float
    high: float
    accuracy: float
    confidence: float
    bins: tuple[Bin, ...]

    def said(self) -> str:
        return f"{self.error:.4f} ({self.low:.4f} to {self.high:.4f})"


def reliability(confidence: Array, right: Array, seed: int = 0) -> Reliability:
    """`right` is 1 or 0 for each sample."""
    error = calibration_error(confidence, right)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(right), len(right)) for _ in range(RESAMPLES)]
    most = float(np.quantile([calibration_error(confidence[rows], right[rows]) for rows in drawn], _UPPER))
    bins = tuple(
        Bin(float(confidence[rows].mean()), float(right[rows].mean()), len(rows)) for rows in _bins(confidence)
    )
    return Reliability(
        error, max(0.0, 2.0 * error - most), max(error, most), float(right.mean()), float(confidence.mean()), bins
    )


def calibration_error(confidence: Array, right: Array) -> float:
    gaps = [abs(float(confidence[rows].sum() - right[rows].sum())) for rows in _bins(confidence)]
    return sum(gaps) / len(right)


def _bins(confidence: Array) -> list[Array]:
    order = np.argsort(confidence, kind="stable")
    return [rows for rows in np.array_split(order, BINS) if len(rows)]


_BEFORE, _AFTER = COLOURS[1], COLOURS[0]


def reliability_svg(title: str, before: Reliability, after: Reliability | None = None) -> str:
    """Accuracy against confidence, one point per bin; on the diagonal a confidence means what it says."""
    curves = {"before": before} if after is None else {"before": before, "after": after}
    return drawn([reliability_panel(title, curves)])


def reliability_panel(title: str, curves: Mapping[str, Reliability]) -> Panel:
    """One stage; each curve is named in the legend with its error."""
    marks: list[Mark] = [Line([(0.0, 0.0), (1.0, 1.0)], INK, dashed=True)]
    for (name, found), colour in zip(curves.items(), (_BEFORE, _AFTER), strict=False):
        points = [(each.confidence, each.accuracy) for each in found.bins]
        marks.append(Line(points, colour, f"{name}: error {found.said()}"))
        marks += [Dot(x, y, colour, radius=3.0) for x, y in points]
    return Panel(title, Axis("confidence", 0.0, 1.0), Axis("right", 0.0, 1.0), marks)
