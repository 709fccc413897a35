"""What the demo shows: a page that is drawn over itself in a terminal, plain lines in a pipe, and the last table."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from cascade_cli.demo.asking import Given, Score

TIERS = ("edge", "fog", "cloud")
WIDE = 30


class View:
    """Draws over itself where the output is a terminal; elsewhere a line now and then."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.live = out.isatty()
        self._drawn = 0

    def say(self, text: str) -> None:
        self._drawn = 0
        self._out.write(text + "\n")
        self._out.flush()

    def draw(self, lines: Sequence[str]) -> None:
        columns = shutil.get_terminal_size().columns - 1
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A")
        self._out.write("".join(f"\x1b[2K{line[:columns]}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)


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
    return lines + [told(given) for given in score.last]


def told(given: Given) -> str:
    """One answer in a line: who said what, how sure, and why it did or didn't climb."""
    answer = given.answer
    state = "provisional" if answer["provisional"] else "corrected  " if answer["correction"] else "final      "
    mark = "✓" if given.right else "✗"
    said = f"{answer.get('label') or '?':>2} {mark} by {answer.get('tier') or 'nobody':5}"
    return f"  {given.agent} {state} {said} {given.ms:7.1f} ms   {' → '.join(map(_step, answer['trail']))}"


def _step(step: Mapping[str, Any]) -> str:
    sure = "" if step.get("confidence") is None else f" {step['confidence']:.2f}"
    wanted = "" if step.get("threshold") is None else f"/{step['threshold']:.2f}"
    return f"{step['tier']}{sure}{wanted} {step['verdict']}"


def line(seconds: float, link: str, score: Score) -> str:
    shares = ", ".join(f"{tier} {score.tiers[tier]}" for tier in TIERS)
    return (
        f"{seconds:5.1f} s  link {link:10}  {shares}; provisional {score.provisional}, "
        f"corrected {score.corrected}, right {score.accuracy:.1%}"
    )


def table(rows: Mapping[str, Score]) -> list[str]:
    head = f"{'':28} {'right':>7} {'(95 %)':>17} {'p50 ms':>8} {'p95 ms':>8} {'bytes up':>10} {'mJ':>8}   {'n':>5}"
    lines = [head]
    for name, score in rows.items():
        low, high = score.interval
        count = max(1, score.answered)
        lines.append(
            f"{name:28} {score.accuracy:7.1%} {f'{low:.1%} to {high:.1%}':>17} {score.quantile(0.5):8.2f} "
            f"{score.quantile(0.95):8.2f} {score.bytes_up / count:10.1f} {score.joules * 1000 / count:8.4f}   {count:5}"
        )
    return [*lines, "", "per question; joules are estimated, from operations, and from bytes by a usual radio"]


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
