"""One busy agent: 1, 32 and 256 questions in flight, half of which leave the edge, and half of those the fog."""

from __future__ import annotations

from typing import Any

from benchmarks.against_handwritten.systems import NODELAY, OURS, PLAIN, Handwritten, Ours
from benchmarks.rounds import Effort, Tell, compared, in_turn

QUESTIONS = {1: 800, 32: 3000, 256: 6000}
"""In one measurement, of ours and of the other."""
PLAIN_QUESTIONS = 200
"""As paho comes it waits 40 ms a hop: fewer are enough."""


def measure(ours: Ours, nodelay: Handwritten, plain: Handwritten, effort: Effort, tell: Tell) -> dict[str, Any]:
    result = {}
    for load in effort.some(tuple(QUESTIONS)):
        count = effort.of(QUESTIONS[load], load)
        counts = {OURS: count, NODELAY: count, PLAIN: min(count, PLAIN_QUESTIONS)}
        result[str(load)] = compared(in_turn((ours, nodelay, plain), load, counts, effort, tell), OURS)
    return result


def table(result: dict[str, Any]) -> str:
    lines = [
        "  one busy agent, everything on       questions/s            CPU s per 1,000        p50 ms",
        "  in flight     ours   theirs  times   ours  theirs  share    ours  theirs  as paho comes",
    ]
    for load, row in result.items():
        ours, theirs, plain = (row["medians"][name] for name in (OURS, NODELAY, PLAIN))
        ratio = row["ours_beside"][NODELAY]
        lines.append(
            f"  {load:>9} {ours['per_s']:8.0f} {theirs['per_s']:8.0f} {ratio['times_as_many_per_s']:6.2f} "
            f"{ours['cpu_s_per_1000']:6.3f} {theirs['cpu_s_per_1000']:7.3f} {ratio['share_of_its_cpu']:6.2f} "
            f"{ours['p50_ms']:7.2f} {theirs['p50_ms']:7.2f} {plain['p50_ms']:14.2f}"
        )
    return "\n".join(lines)
