"""Line charts side by side as SVG, without a library: a logarithmic scale along, and up if it doesn't begin at zero.

    python -m benchmarks.growth.picture REPORT.json PICTURE.svg

Colours are of the middle, so that they can be read on light and on dark pages.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT, GAP = 230, 150, 70
LEFT, TOP, BELOW = 55, 46, 62
COLOURS = ("#2a78c2", "#d9772b", "#4b9b57")
INK = "#7a7a7a"


class Panel(NamedTuple):
    title: str
    lines: dict[str, list[float]]
    from_zero: bool = False
    """Instead of a logarithmic scale."""


class _Scale(NamedTuple):
    low: float
    high: float
    logarithmic: bool

    def share(self, value: float) -> float:
        if self.logarithmic:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        return [self.high * part / 4 for part in range(5)]


def drawn(along: str, places: Sequence[float], panels: Sequence[Panel], about: str) -> str:
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}" role="img">',
        f"<title>{escape(along)}</title>",
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, places, along, LEFT + number * (WIDTH + GAP))
    parts += [_text(LEFT, height - 8, about, anchor="start"), "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(panel: Panel, places: Sequence[float], along: str, left: float) -> list[str]:
    across = _logarithmic(places)
    values = [value for line in panel.lines.values() for value in line]
    up = _Scale(0.0, _round_up(max(values)), False) if panel.from_zero else _logarithmic(values)

    def x(value: float) -> float:
        return left + across.share(value) * WIDTH

    def y(value: float) -> float:
        return TOP + HEIGHT - up.share(value) * HEIGHT

    parts = [_text(left, TOP - 30, panel.title, anchor="start", bold=True)]
    for tick in up.ticks():
        parts.append(_stroke(left, y(tick), left + WIDTH, y(tick), 0.4))
        parts.append(_text(left - 6, y(tick) + 4, _number(tick), anchor="end"))
    for tick in across.ticks():
        parts.append(_text(x(tick), TOP + HEIGHT + 16, _number(tick)))
    parts.append(_text(left + WIDTH / 2, TOP + HEIGHT + 32, along))
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[number]
        points = [(x(place), y(value)) for place, value in zip(places, line, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(_text(left + number * WIDTH / 2, TOP - 14, name, anchor="start", colour=colour))
    return parts


def _logarithmic(values: Sequence[float]) -> _Scale:
    """Whole powers of ten around them."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Scale(10.0**low, 10.0 ** max(high, low + 1), True)


def _round_up(value: float) -> float:
    step = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / step) * step


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _stroke(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" stroke-opacity="{opacity}" '
        'stroke-width="0.7"/>'
    )


def _text(x: float, y: float, said: str, *, anchor: str = "middle", colour: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(said)}</text>'


def main(report: Path, picture: Path) -> None:
    from benchmarks.growth import subject

    picture.write_text(subject.picture(json.loads(report.read_text())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
