"""All benchmarks in turn: a JSON file each, and one table.

python -m benchmarks [--quick] [--rounds N] [--only SUBJECT …] [--out FOLDER]
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from benchmarks.command import BUILD, Subject, arguments, effort_of, run, shown, tell

SUBJECTS = {
    "against_handwritten": "benchmarks.against_handwritten.subject",
    "in_line": "benchmarks.in_line",
    "gate_and_hop": "benchmarks.gate_and_hop",
    "features": "benchmarks.features",
    "footprint": "benchmarks.footprint",
    "tiers": "benchmarks.tiers.subject",
    "growth": "benchmarks.growth.subject",
}
"""By name, where each `SUBJECT` is. The peers, and what is about data, have commands of their own."""
TABLE = "table.txt"


def main() -> None:
    parser = arguments(__doc__, 0)
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--out", type=Path, default=BUILD)
    wanted = parser.parse_args()
    blocks = []
    for name in wanted.only:
        subject: Subject = import_module(SUBJECTS[name]).SUBJECT
        effort = effort_of(wanted)
        if not effort.rounds:
            effort = effort._replace(rounds=subject.rounds)
        blocks.append(shown(subject, run(subject, effort, wanted.out / f"{name}.json", tell)))
        print(blocks[-1] + "\n\n", flush=True)
        (wanted.out / TABLE).write_text("\n\n\n".join(blocks) + "\n")  # each time: what was measured is not lost
    print(f"written to {wanted.out}")


if __name__ == "__main__":
    main()
