"""An evaluation as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cascade_cli.evaluate.evaluating import Evaluated
from cascade_cli.evaluate.figures import Difference, Row, Single, as_good
from cascade_cli.evaluate.intervals import CONFIDENCE, METHODS, Figure

FORMAT = 1
UNITS = (("J", 1.0), ("mJ", 1e3), ("µJ", 1e6), ("nJ", 1e9))


def told(found: Evaluated) -> Iterator[str]:
    return (line.rstrip() for line in _told(found))


def _told(found: Evaluated) -> Iterator[str]:
    yield f"{found.samples:,} samples of task {found.task} ({found.source}), asked {found.how}"
    yield ""
    yield from _table(found.rows)
    yield ""
    yield from _shares(found.rows)
    if found.differences:
        widest = max(len(each.other) for each in found.differences)
        yield f"{found.differences_of}, beside"
        for each in found.differences:
            yield f"  {each.other:{widest}}  {_difference(each)}"
        yield ""
    yield from _best_single(found)
    yield from (f"note: {note}" for note in found.notes)
    yield (
        f"below each figure: {CONFIDENCE:.0%} interval ({', '.join(f'{what}: {how}' for what, how in METHODS.items())})"
    )
    yield _where_joules_come_from(found.rows)
    if found.ran:
        yield f"run anew: {_ran(found)}"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    unit, scale = _unit(rows)
    heads = ["right %", "p50 ms", "p95 ms", "p99 ms", "bytes up", f"device {unit}", f"all {unit}"]
    lines = {
        row.system: [
            _scaled(row.right, 100.0),
            *row.ms.values(),
            row.bytes_up,
            _scaled(row.device_joules, scale),
            _scaled(row.all_joules, scale),
        ]
        for row in rows
    }
    return _columns("", heads, lines)


def _columns(title: str, heads: Sequence[str], lines: Mapping[str, Sequence[Figure]]) -> Iterator[str]:
    """Each figure with its limits below it, in columns as wide as they have to be."""
    names = max(len(title), *map(len, lines))
    columns = [
        max(len(head), *(len(text) for figures in lines.values() for text in _cell(figures[number])))
        for number, head in enumerate(heads)
    ]

    def line(name: str, cells: Iterable[str]) -> str:
        return f"{name:{names}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, columns, strict=True))

    yield line(title, heads)
    for name, figures in lines.items():
        yield line(name, (_number(figure.value) for figure in figures))
        yield line("", map(_limits, figures))


def _cell(figure: Figure) -> tuple[str, str]:
    return _number(figure.value), _limits(figure)


def _unit(rows: Sequence[Row]) -> tuple[str, float]:
    """In which the largest of all joules is no tiny number, and how many there are in one joule."""
    most = max((figure.value or 0.0 for row in rows for figure in (row.device_joules, row.all_joules)), default=0.0)
    return next(((unit, scale) for unit, scale in UNITS if most * scale >= 1.0), UNITS[-1])


def _shares(rows: Sequence[Row]) -> Iterator[str]:
    shared = [row for row in rows if len(row.answered) > 1]
    if not shared:
        return
    places = list(dict.fromkeys(place for row in shared for place in row.answered))
    lines = {row.system: [_scaled(row.answered.get(place, Figure(0.0)), 100.0) for place in places] for row in shared}
    yield from _columns("answered by, %", places, lines)
    yield ""


def _difference(found: Difference) -> str:
    right = _scaled(found.right, 100.0)
    parts = [f"{_signed(right.value)} points right ({_signed(right.low)} to {_signed(right.high)})"]
    if found.bytes_up.value:
        parts.append(_times_fewer(found.bytes_up, "bytes"))
    if found.device_joules.value:
        parts.append(_times_fewer(found.device_joules, "device joules"))
    return ", ".join(parts)


def _times_fewer(fewer: Figure, what: str) -> str:
    limits = _limits(fewer)
    if _number(fewer.value) == "1.00" and not limits:
        return f"as many {what}"
    if (fewer.value or 0.0) >= 1.0:
        return _within(f"{_number(fewer.value)}× fewer {what}", fewer)
    more = Figure(*(None if not each else 1.0 / each for each in (fewer.value, fewer.high, fewer.low)))
    return _within(f"{_number(more.value)}× as many {what}", more)


def _within(said: str, figure: Figure) -> str:
    """With the limits, where there are any: where every sample says the same there are none."""
    limits = _limits(figure)
    return f"{said} ({limits})" if limits else said


def _best_single(found: Evaluated) -> Iterator[str]:
    if not found.singles:
        return
    best = next((single for single in found.singles if as_good(single)), None)
    if best is None:
        yield "no single model of those recorded is as accurate as the cascade"
        return
    yield "the cheapest single model that these samples can't tell from the cascade"
    dearest = ", the dearest of those recorded: no smaller one does as well" if best is found.singles[-1] else ""
    yield f"  {_single(best)}{dearest}"


def _single(single: Single) -> str:
    right = _scaled(single.right, 100.0)
    joules = "joules unknown" if single.joules is None else f"{_number(single.joules * 1e6)} µJ"
    return (
        f"{_within(f'{single.place}: {_number(right.value)} % right', right)}, {joules} and {_number(single.ms)} ms "
        f"a run, {single.model_bytes:,} bytes"
    )


def _where_joules_come_from(rows: Sequence[Row]) -> str:
    return "joules: " + "; ".join(
        f"{source} ({', '.join(row.system for row in rows if row.energy == source)})"
        for source in dict.fromkeys(row.energy for row in rows)
    )


def _ran(found: Evaluated) -> str:
    fresh = {place: count for place, count in found.ran.items() if count}
    if not fresh:
        return "nothing; all predictions were in the cache"
    return ", ".join(f"{place} on {count:,} samples" for place, count in fresh.items())


def as_json(found: Evaluated, pictures: Sequence[str] = ()) -> dict[str, Any]:
    """Promised: what is here keeps its name. What is not known is null."""
    return {
        "format": FORMAT,
        "task": found.task,
        "release": found.release,
        "data": found.source,
        "samples": found.samples,
        "how": found.how,
        "confidence": CONFIDENCE,
        "intervals": dict(METHODS),
        "systems": {row.system: _row(row) for row in found.rows},
        "cascade_beside": {
            each.other: {
                "points_right": _json(_scaled(each.right, 100.0)),
                "times_fewer_bytes": _json(each.bytes_up),
                "times_fewer_device_joules": _json(each.device_joules),
            }
            for each in found.differences
        },
        "single_models": [
            {
                "place": each.place,
                "right": _json(each.right),
                "cascade_is_better_by": _json(each.less_right),
                "as_good_as_the_cascade": as_good(each),
                "joules_per_run": each.joules,
                "ms_per_run": each.ms,
                "model_bytes": each.model_bytes,
            }
            for each in found.singles
        ],
        "thresholds_moved": [
            {"tier": each.tier, "stage": each.stage, "points": [point._asdict() for point in each.points]}
            for each in found.sweeps
        ],
        "run_anew": dict(found.ran),
        "notes": list(found.notes),
        "pictures": list(pictures),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "questions": row.questions,
        "right": _json(row.right),
        "ms": _all(row.ms),
        "bytes_up_per_question": _json(row.bytes_up),
        "bytes_up_per_question_by": _all(row.bytes_up_by),
        "device_joules_per_question": _json(row.device_joules),
        "all_joules_per_question": _json(row.all_joules),
        "joules_source": row.energy,
        "answered_by": _all(row.answered),
        "provisional": _json(row.provisional),
        "decisions": row.decisions,
    }


def _all(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: _json(figure) for name, figure in figures.items()}


def _json(figure: Figure) -> dict[str, float | None]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def _scaled(figure: Figure, scale: float) -> Figure:
    return Figure(*(None if each is None else each * scale for each in figure))


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    size = abs(value)
    if size >= 10.0:
        return f"{value:,.1f}"
    return f"{value:.2f}" if size >= 1.0 else f"{value:.3g}"


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.2f}"


def _limits(figure: Figure) -> str:
    if figure.value is None or (figure.low is None and figure.high is None) or figure.low == figure.high:
        return ""
    return f"{_end(figure.low)}–{_end(figure.high)}"


def _end(value: float | None) -> str:
    return "?" if value is None else _number(value)
