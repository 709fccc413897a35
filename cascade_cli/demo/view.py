"""What the demo shows: a page that is drawn over itself in a terminal, plain lines in a pipe, and the last table."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from cascade.inference.explaining import apart
from cascade_cli.demo.asking import Given, Score

TIERS = ("edge", "fog", "cloud")
WIDE = 30
ROW = "{:25} {:>6} {:>10} {:>6} {:>6} {:>8} {:>6} {:>5}"
"""Of the last table: no wider than the narrowest terminal, as all that is shown."""
LEGEND = ".51<.72 ↑ was 0.51 sure, 0.72 is wanted: it climbed. .98 ✓ answered."
PLAIN = str.maketrans({"✓": "+", "✗": "x", "↑": "^", "█": "#", "⇄": "-", "→": ">", "…": "...", "–": "-"})
"""For terminals that can't show what is beyond ASCII."""


class View:
    """Draws over itself where the output is a terminal; elsewhere a line now and then."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.live = out.isatty()
        self._drawn = 0
        self._plain = not _shows(out, "".join(map(chr, PLAIN)))

    def say(self, text: str) -> None:
        self._drawn = 0
        self._write(text + "\n")

    def draw(self, lines: Sequence[str]) -> None:
        """What is taller than the terminal could not be drawn over."""
        columns, rows = shutil.get_terminal_size()
        lines = lines[: rows - 1]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._write(up + "".join(f"\x1b[2K{line[: columns - 1]}\n" for line in lines))
        self._drawn = len(lines)

    def _write(self, text: str) -> None:
        self._out.write(text.translate(PLAIN) if self._plain else text)
        self._out.flush()


def _shows(out: TextIO, marks: str) -> bool:
    try:
        marks.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def page(seconds: float, link: str, score: Score, waiting: int) -> list[str]:
    """The whole of what is known now."""
    lines = [f"{seconds:5.1f} s   gateway ⇄ cloud: {link}", ""]
    total = max(1, sum(score.tiers.values()))
    for tier in TIERS:
        share = score.tiers[tier] / total
        lines.append(f"  {tier:6} {'█' * round(share * WIDE):{WIDE}} {share:6.1%}  {score.tiers[tier]:5}")
    low, high = score.interval
    lines += [
        "",
        f"  asked {score.asked}, answered by the deadline {score.answered}, "
        f"right {score.accuracy:.1%} ({low:.1%} to {high:.1%})",
        f"  provisional {score.provisional}, corrected since {score.corrected}, waiting for a final answer {waiting}",
        f"  p50 {score.quantile(0.5):.1f} ms, p95 {score.quantile(0.95):.1f} ms,"
        f" {score.bytes_up:,} bytes up, {score.joules * 1000:.2f} mJ (estimated)",
        "",
    ]
    return lines + [told(given) for given in score.last] + ["", f"  {LEGEND}"]


def told(given: Given) -> str:
    """One answer in a line: who said what, and why it did or didn't climb."""
    answer = given.answer
    state = "provisional" if answer["provisional"] else "corrected" if answer["correction"] else "final"
    said = f"{answer.get('label') or '?':>2} {'✓' if given.right else '✗'} {answer.get('tier') or 'nobody':5}"
    device = given.agent.rpartition(".")[2]
    return f"{device:4} {state:11} {said} {_time(given.ms):>7}  {' '.join(map(_step, answer['trail']))}"


def _time(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms"


def _step(step: Mapping[str, Any]) -> str:
    mark = {"climb": "↑", "answer": "✓"}.get(step["verdict"], step["verdict"])
    return f"{step['tier']}{_sure(step)} {mark}"


def _sure(step: Mapping[str, Any]) -> str:
    """How sure it was; and of how much was wanted, where that is why it climbed."""
    confidence, threshold = step.get("confidence"), step.get("threshold")
    if confidence is None:
        return ""
    if threshold is None or step["verdict"] != "climb":
        return f" {_short(f'{confidence:.2f}')}"
    measured, wanted = apart(confidence, threshold)
    side = "<" if confidence < threshold else ">" if confidence > threshold else "="
    return f" {_short(measured)}{side}{_short(wanted)}"


def _short(number: str) -> str:
    return number.removeprefix("0") if number.startswith("0.") else number


def line(seconds: float, link: str, score: Score) -> str:
    shares = ", ".join(f"{tier} {score.tiers[tier]}" for tier in TIERS)
    count = max(1, score.answered)
    return (
        f"{seconds:5.1f} s  link {link:12}  {shares}; provisional {score.provisional}, corrected {score.corrected}, "
        f"right {score.accuracy:.1%}; p50 {_time(score.quantile(0.5))}; each {score.bytes_up / count:.1f} bytes up, "
        f"{score.joules * 1000 / count:.3f} mJ (estimated)"
    )


def table(rows: Mapping[str, Score]) -> list[str]:
    lines = [ROW.format("", "right", "(95 %)", "p50 ms", "p95 ms", "bytes up", "mJ", "n")]
    for name, score in rows.items():
        low, high = score.interval
        count = max(1, score.answered)
        lines.append(
            ROW.format(
                name, f"{score.accuracy:.1%}", f"{low * 100:.1f}–{high * 100:.1f}", _milliseconds(score.quantile(0.5)),
                _milliseconds(score.quantile(0.95)), f"{score.bytes_up / count:.1f}",
                f"{score.joules * 1000 / count:.4f}", count,
            )
        )  # fmt: skip
    return [*lines, "", "per question; joules are estimated, by operations and by a usual radio's bytes"]


def _milliseconds(ms: float) -> str:
    return f"{ms:.2f}" if ms < 1000 else f"{ms:.0f}"


def as_json(rows: Mapping[str, Score]) -> dict[str, Any]:
    return {
        name: {
            "questions": score.answered,
            "accuracy": score.accuracy,
            "accuracy_interval": score.interval,
            "p50_ms": score.quantile(0.5),
            "p95_ms": score.quantile(0.95),
            "bytes_up": score.bytes_up,
            "joules": score.joules,
            "joules_source": "estimated",
            "answered_by": dict(score.tiers),
            "provisional": score.provisional,
            "corrected": score.corrected,
        }
        for name, score in rows.items()
    }
