"""Charts as SVG, without a library: lines, dots with their intervals, and bars, in panels side by side.

Colours and ink are of the middle, so that they can be read on light and on dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple, TypeAlias

WIDTH, HEIGHT = 300, 220
LEFT, TOP, BELOW, GAP = 58, 34, 46, 44
LINE_HEIGHT = 16
COLOURS = ("#2a78c2", "#d9772b", "#4b9b57", "#b0486e", "#8767b5", "#8a7a3c")
INK = "#7a7a7a"
LEAST_SPAN = 1e-9
"""Of an axis, beside its numbers: closer ones are drawn as one."""


class Axis(NamedTuple):
    """A linear scale with round ticks."""

    title: str
    low: float
    high: float
    said: Callable[[float], str] = "{:g}".format

    @classmethod
    def around(
        cls,
        title: str,
        values: Sequence[float],
        *,
        from_zero: bool = False,
        at_most: float = math.inf,
        said: Callable[[float], str] = "{:g}".format,
    ) -> Axis:
        """As wide as the values, and to the next tick on both sides."""
        low, high = (0.0 if from_zero else min(values)), max(values)
        if high - low <= LEAST_SPAN * max(1.0, abs(low), abs(high)):
            half = 0.5 * max(1.0, abs(low))
            low, high = (0.0, 1.0) if from_zero else (low - half, high + half)
        step = _step(high - low)
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(title, low, min(high, max(at_most, low + step)), said)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        step = _step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _step(span: float) -> float:
    """Round, and so that there are four to eight of them."""
    power = 10.0 ** math.floor(math.log10(span / 4.0))
    return next(power * part for part in (1.0, 2.0, 5.0, 10.0) if span / (power * part) <= 8.0)


class Line(NamedTuple):
    """Through points, from the first to the last."""

    points: Sequence[tuple[float, float]]
    colour: str = INK
    name: str = ""
    """In the legend. Empty: not there."""
    dashed: bool = False


class Dot(NamedTuple):
    """One point, with how far it may lie from there; None: that way isn't known."""

    x: float
    y: float
    colour: str = INK
    name: str = ""
    across: tuple[float | None, float | None] = (None, None)
    up: tuple[float | None, float | None] = (None, None)
    radius: float = 4.0


class Bar(NamedTuple):
    """From `base` to `top`, between two places along."""

    left: float
    right: float
    top: float
    colour: str = INK
    base: float = 0.0


class Note(NamedTuple):
    """Words at a place."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    colour: str = INK


Mark: TypeAlias = Line | Dot | Bar | Note


class Panel(NamedTuple):
    """One chart."""

    title: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]


def drawn(panels: Sequence[Panel], about: Sequence[str] = (), *, per_row: int = 3) -> str:
    """Rows of panels, their legends below each row, and below all some lines of what is to be seen."""
    rows = [panels[at : at + per_row] for at in range(0, len(panels), per_row)]
    width = max(len(row) for row in rows) * (LEFT + WIDTH + GAP)
    parts: list[str] = []
    top = 0.0
    for row in rows:
        for column, panel in enumerate(row):
            parts += _panel(panel, column * (LEFT + WIDTH + GAP) + LEFT, top + TOP)
        legends = max(len(_legend(panel)) for panel in row)
        top += TOP + HEIGHT + BELOW + legends * LINE_HEIGHT + 12
    for line in about:
        parts.append(_text(LEFT, top + 4, line, anchor="start"))
        top += LINE_HEIGHT
    longest = max((len(line) for line in about), default=0)
    width = max(width, round(LEFT + 6.1 * longest))
    height = round(top + 4)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img">'
    )
    return "\n".join([head, f"<title>{escape(panels[0].title)}</title>", *parts, "</svg>", ""])


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    def x(value: float) -> float:
        return left + panel.x.share(value) * WIDTH

    def y(value: float) -> float:
        return top + HEIGHT - panel.y.share(value) * HEIGHT

    parts = [_text(left, top - 14, panel.title, anchor="start", bold=True)]
    for tick in panel.y.ticks():
        parts.append(_stroke(left, y(tick), left + WIDTH, y(tick), opacity=0.3))
        parts.append(_text(left - 6, y(tick) + 4, panel.y.said(tick), anchor="end"))
    for tick in panel.x.ticks():
        parts.append(_stroke(x(tick), top + HEIGHT, x(tick), top + HEIGHT + 4))
        parts.append(_text(x(tick), top + HEIGHT + 17, panel.x.said(tick)))
    parts.append(_stroke(left, top + HEIGHT, left + WIDTH, top + HEIGHT))
    parts.append(_text(left + WIDTH / 2, top + HEIGHT + 34, panel.x.title))
    parts.append(_text(left - 42, top + HEIGHT / 2, panel.y.title, turned=True))
    for mark in panel.marks:
        parts += _MARKS[type(mark)](mark, x, y)
    for number, mark in enumerate(_legend(panel)):
        parts += _named(mark, left, top + HEIGHT + BELOW + 6 + number * LINE_HEIGHT)
    return parts


def _legend(panel: Panel) -> list[Line | Dot]:
    return [mark for mark in panel.marks if isinstance(mark, Line | Dot) and mark.name]


def _named(mark: Line | Dot, left: float, at: float) -> list[str]:
    if isinstance(mark, Dot):
        sign = f'<circle cx="{left + 9:.1f}" cy="{at - 4:.1f}" r="{mark.radius:g}" fill="{mark.colour}"/>'
    else:
        sign = _stroke(left, at - 4, left + 18, at - 4, colour=mark.colour, width=2.4, dashed=mark.dashed)
    return [sign, _text(left + 25, at, mark.name, anchor="start")]


Place = Callable[[float], float]


def _line(mark: Line, x: Place, y: Place) -> list[str]:
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in mark.points)
    dashes = ' stroke-dasharray="5 4"' if mark.dashed else ""
    return [f'<polyline points="{path}" fill="none" stroke="{mark.colour}" stroke-width="1.8"{dashes}/>']


def _dot(mark: Dot, x: Place, y: Place) -> list[str]:
    at, high = x(mark.x), y(mark.y)
    parts = []
    if mark.up != (None, None):
        low_end, high_end = (y(mark.y if end is None else end) for end in mark.up)
        parts.append(_stroke(at, low_end, at, high_end, colour=mark.colour, width=1.4))
    if mark.across != (None, None):
        left_end, right_end = (x(mark.x if end is None else end) for end in mark.across)
        parts.append(_stroke(left_end, high, right_end, high, colour=mark.colour, width=1.4))
    title = f"<title>{escape(mark.name)}</title>" if mark.name else ""
    parts.append(f'<circle cx="{at:.1f}" cy="{high:.1f}" r="{mark.radius:g}" fill="{mark.colour}">{title}</circle>')
    return parts


def _bar(mark: Bar, x: Place, y: Place) -> list[str]:
    high, low = sorted((y(mark.top), y(mark.base)))
    width = max(0.5, x(mark.right) - x(mark.left) - 1.0)
    return [
        f'<rect x="{x(mark.left) + 0.5:.1f}" y="{high:.1f}" width="{width:.1f}" height="{low - high:.1f}" '
        f'fill="{mark.colour}"/>'
    ]


def _note(mark: Note, x: Place, y: Place) -> list[str]:
    return [_text(x(mark.x), y(mark.y), mark.text, anchor=mark.anchor, colour=mark.colour)]


_MARKS: dict[type, Callable[..., list[str]]] = {Line: _line, Dot: _dot, Bar: _bar, Note: _note}


def _stroke(
    x1: float, y1: float, x2: float, y2: float, *, opacity: float = 1.0, colour: str = INK, width: float = 0.8,
    dashed: bool = False,
) -> str:  # fmt: skip
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-opacity="{opacity:g}" stroke-width="{width:g}"{dashes}/>'
    )


def _text(
    x: float, y: float, said: str, *, anchor: str = "middle", colour: str = INK, bold: bool = False,
    turned: bool = False,
) -> str:  # fmt: skip
    weight = ' font-weight="bold"' if bold else ""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}{turn}>{escape(said)}</text>'
