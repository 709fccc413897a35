"""One question at a time, and each tier by itself: how long an answer from the edge, the fog and the cloud takes."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.against_handwritten.systems import BY_TIER, NODELAY, OURS, PLAIN, Handwritten, Ours
from benchmarks.rounds import Effort, Tell, median_of_ratios, quartiles

QUESTIONS = {"edge": 2000, "fog": 400, "cloud": 300}
PLAIN_QUESTIONS = 60


class _Turn(NamedTuple):
    ours: list[float]
    nodelay: list[float]
    plain: list[float]


def measure(ours: Ours, nodelay: Handwritten, plain: Handwritten, effort: Effort, tell: Tell) -> dict[str, Any]:
    return {tier: _tier(tier, ours, nodelay, plain, effort, tell) for tier in BY_TIER}


def _tier(
    tier: str, ours: Ours, nodelay: Handwritten, plain: Handwritten, effort: Effort, tell: Tell
) -> dict[str, Any]:
    count = effort.of(QUESTIONS[tier])
    few = count if tier == "edge" else min(count, PLAIN_QUESTIONS)
    for system in (ours, nodelay, plain):
        system.run_one_tier(tier, 16)
    turns = [
        _Turn(ours.run_one_tier(tier, count), nodelay.run_one_tier(tier, count), plain.run_one_tier(tier, few))
        for _ in range(effort.rounds)
    ]
    result: dict[str, Any] = {
        "ms": {
            name: {
                share: s * 1000.0 for share, s in quartiles([wait for turn in turns for wait in turn[place]]).items()
            }
            for place, name in enumerate((OURS, NODELAY, PLAIN))
        },
        "share_of_nodelay": median_of_ratios([turn.ours for turn in turns], [turn.nodelay for turn in turns]),
        "share_of_plain": median_of_ratios([turn.ours for turn in turns], [turn.plain for turn in turns]),
    }
    tell(f"  {tier}: {result['ms'][OURS]['p50']:.3f} ms beside {result['ms'][NODELAY]['p50']:.3f} ms")
    return result


def table(result: dict[str, Any]) -> str:
    lines = [
        "  one question in flight, ms (p25 p50 p75)",
        f"  {'answered by':>11} {'ours':>20} {'theirs, TCP_NODELAY':>22} {'theirs, as paho comes':>22}   share",
    ]
    for tier, row in result.items():
        cells = [
            " ".join(f"{row['ms'][name][q]:6.3f}" for q in ("p25", "p50", "p75")) for name in (OURS, NODELAY, PLAIN)
        ]
        lines.append(f"  {tier:>11} {cells[0]:>20} {cells[1]:>22} {cells[2]:>22} {row['share_of_nodelay']:7.2f}")
    return "\n".join(lines)
