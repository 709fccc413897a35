"""How far confidence and accuracy lie apart: the expected calibration error with an interval, and a picture of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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


_SIZE, _EDGE = 320, 40


def reliability_svg(title: str, before: Reliability, after: Reliability | None = None) -> str:
    """Accuracy against confidence, one point per bin; on the diagonal a confidence means what it says."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SIZE + 2 * _EDGE}" height="{_SIZE + 2 * _EDGE}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_SIZE + 2 * _EDGE}" height="{_SIZE + 2 * _EDGE}" fill="white"/>',
        f'<text x="{_EDGE}" y="20">{_plain(title)}</text>',
        f'<rect x="{_EDGE}" y="{_EDGE}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="#999"/>',
        f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#999" stroke-dasharray="4"/>',
        *_curve(before, "#c0392b"),
        *(_curve(after, "#2471a3") if after else []),
        f'<text x="{_EDGE}" y="{_SIZE + _EDGE + 16}">confidence 0</text>',
        f'<text x="{_SIZE + _EDGE}" y="{_SIZE + _EDGE + 16}" text-anchor="end">1</text>',
        f'<text x="{_EDGE - 6}" y="{_EDGE + 10}" text-anchor="end">1</text>',
        f'<text x="{_EDGE + 8}" y="{_EDGE + 18}" fill="#c0392b">before: error {before.said()}</text>',
    ]
    if after:
        lines.append(f'<text x="{_EDGE + 8}" y="{_EDGE + 34}" fill="#2471a3">after: error {after.said()}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _curve(of: Reliability, colour: str) -> list[str]:
    points = " ".join(f"{_x(each.confidence):.1f},{_y(each.accuracy):.1f}" for each in of.bins)
    dots = [
        f'<circle cx="{_x(each.confidence):.1f}" cy="{_y(each.accuracy):.1f}" r="3" fill="{colour}"/>'
        for each in of.bins
    ]
    return [f'<polyline points="{points}" fill="none" stroke="{colour}"/>', *dots]


def _x(share: float) -> float:
    return _EDGE + share * _SIZE


def _y(share: float) -> float:
    return _EDGE + (1.0 - share) * _SIZE


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
