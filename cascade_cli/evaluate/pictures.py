"""The pictures of an evaluation: what thresholds trade, and what confidences are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cascade.adapters.charts import COLOURS, INK, Axis, Bar, Dot, Line, Mark, Note, Panel, drawn
from cascade.adapters.whole_file import write_whole
from cascade.inference.recordings import Recordings, StageRecord, readable_scores
from cascade.release.ladder import GateSpec
from cascade_cli.evaluate.figures import Row
from cascade_cli.evaluate.intervals import Array, Figure
from cascade_cli.evaluate.sweeps import Point, Sweep
from cascade_cli.evaluate.systems import CASCADE
from cloud_service.calibrating.reliability import Reliability, reliability, reliability_panel

RIGHT, WRONG = "#4b9b57", "#c0453e"
BINS = 20
SYSTEM_COLOURS = {"device only": COLOURS[2], "fog only": COLOURS[4], "cloud only": COLOURS[5], CASCADE: "#c0453e"}
LINE_COLOURS = (COLOURS[0], COLOURS[1], COLOURS[3])


def draw(folder: Path, pictures: Mapping[str, str]) -> list[Path]:
    paths = []
    for name, svg in pictures.items():
        write_whole(folder / f"{name}.svg", svg.encode())
        paths.append(folder / f"{name}.svg")
    return paths


def trade_off(title: str, rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    """Accuracy against bytes and against joules: a line for each gate that moves, a dot for each system."""
    bytes_panel = _trade(
        f"{title}: accuracy against bytes",
        "bytes up per question",
        rows,
        sweeps,
        lambda row: row.bytes_up,
        lambda point: point.bytes_up,
        1.0,
    )
    joules_panel = _trade(
        f"{title}: accuracy against energy",
        "mJ per question, of the device",
        rows,
        sweeps,
        lambda row: row.device_joules,
        lambda point: point.joules,
        1000.0,
    )
    about = [
        "Bars are 95 % intervals. Each line moves one gate's threshold and leaves the others as the release has them.",
        "Dashed: asking the top about a share of questions by chance. A gate is worth what it lies above that.",
    ]
    return drawn([panel for panel in (bytes_panel, joules_panel) if panel is not None], about)


def _trade(
    title: str,
    along: str,
    rows: Sequence[Row],
    sweeps: Sequence[Sweep],
    of_row: Callable[[Row], Figure],
    of_point: Callable[[Point], float],
    scale: float,
) -> Panel | None:
    dots = [_dot(row, of_row(row), scale) for row in rows if of_row(row).value is not None]
    lines = [
        Line(
            [(of_point(point) * scale, 100.0 * point.right) for point in sweep.points],
            LINE_COLOURS[number % len(LINE_COLOURS)],
            f"threshold of {sweep.tier}/{sweep.stage} moves",
        )
        for number, sweep in enumerate(sweeps)
    ]
    if not dots:
        return None
    places = [(dot.x, dot.y) for dot in dots] + [point for line in lines for point in line.points]
    ends = [end for dot in dots for end in (*dot.up, dot.y) if end is not None]
    marks: list[Mark] = [*_by_chance(rows, of_row, scale), *lines, *dots]
    across = Axis.around(along, [x for x, _ in places], from_zero=True, said=_short)
    up = Axis.around("right, %", [*ends, *(y for _, y in places)], at_most=100.0)
    return Panel(title, across, up, marks)


def _dot(row: Row, at: Figure, scale: float) -> Dot:
    colour = SYSTEM_COLOURS.get(row.system, COLOURS[3])
    right = Figure(*(None if each is None else 100.0 * each for each in row.right))
    across = tuple(None if each is None else each * scale for each in (at.low, at.high))
    return Dot(
        (at.value or 0.0) * scale,
        right.value or 0.0,
        colour,
        row.system,
        (across[0], across[1]),
        (right.low, right.high),
        5.0 if row.system == CASCADE else 4.0,
    )


def _by_chance(rows: Sequence[Row], of_row: Callable[[Row], Figure], scale: float) -> list[Mark]:
    by_name = {row.system: row for row in rows}
    if CASCADE not in by_name or len(rows) < 3:
        return []
    alone = [row for row in rows if row.system.endswith(" only")]
    ends = [alone[0], alone[-1]]
    points = [((of_row(row).value or 0.0) * scale, 100.0 * (row.right.value or 0.0)) for row in ends]
    return [Line(points, INK, "by chance", dashed=True)]


def reliabilities(recordings: Recordings, right: Sequence[Array], seed: int) -> dict[str, Reliability]:
    """Of every stage of class scores: what its confidence is worth, on this data."""
    found = {}
    for stage, hits in zip(recordings.stages, right, strict=True):
        confidence = confidences(stage)
        if confidence is None:
            continue
        known = ~np.isnan(hits) & ~np.isnan(confidence)
        if known.any():
            found[f"{stage.tier}/{stage.name}"] = reliability(confidence[known], hits[known], seed)
    return found


def confidences(stage: StageRecord) -> Array | None:
    """Of the best class. None for what has no such thing."""
    if stage.kind != "classes":
        return None
    scores = stage.columns["scores"].astype(float)
    return np.where(readable_scores(scores), scores.max(axis=1), np.nan)


def reliability_picture(found: Mapping[str, Reliability]) -> str:
    panels = [reliability_panel(name, {"as it runs": each}) for name, each in found.items()]
    about = [
        "One dot for each fifteenth of the samples, by rising confidence. On the dashed line confidence means what it",
        "says; below it the model is surer than it is right. Error: expected calibration error, with 95 % interval.",
    ]
    return drawn(panels, about)


def confidence_picture(recordings: Recordings, right: Sequence[Array], gates: Sequence[GateSpec]) -> str:
    """How sure each stage is of what it has right (up) and wrong (down), and where its gate's threshold is."""
    panels = []
    for stage, hits, spec in zip(recordings.stages, right, gates, strict=True):
        confidence = confidences(stage)
        if confidence is not None:
            panels.append(_confidence_panel(stage, confidence, hits, spec))
    about = [
        "How many samples a stage was so sure of: those it has right upwards, those it has wrong downwards, with a",
        "scale of their own. What it is sure and wrong about (downwards, at the right end) no threshold can catch.",
    ]
    return drawn(panels, about)


def _confidence_panel(stage: StageRecord, confidence: Array, hits: Array, spec: GateSpec) -> Panel:
    least = 1.0 / max(2, stage.columns["scores"].shape[1])
    low = np.floor(10.0 * least) / 10.0
    edges = np.linspace(low, 1.0, BINS + 1)
    up, down = (np.histogram(confidence[hits == which], edges)[0] for which in (1.0, 0.0))
    most_up, most_down = max(1, int(up.max())), max(1, int(down.max()))
    bars = [Bar(a, b, count / most_up, RIGHT) for a, b, count in zip(edges, edges[1:], up, strict=False) if count]
    bars += [Bar(a, b, -count / most_down, WRONG) for a, b, count in zip(edges, edges[1:], down, strict=False) if count]
    notes: list[Mark] = [
        Note(low + 0.01, 1.17, f"right: {int(up.sum()):,}, at most {most_up:,} in a bar", colour=RIGHT),
        Note(low + 0.01, -1.25, f"wrong: {int(down.sum()):,}, at most {int(down.max()):,} in a bar", colour=WRONG),
    ]
    if spec.name == "confidence" and spec.threshold is not None and spec.threshold <= 1.0:
        notes.append(Line([(spec.threshold, -1.0), (spec.threshold, 1.0)], INK, f"threshold {spec.threshold:g}"))
    y = Axis("", -1.35, 1.35, lambda value: "")
    return Panel(f"{stage.tier}/{stage.name}", Axis("confidence", float(low), 1.0), y, [*bars, *notes])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
