"""`python -m benchmarks.peers`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.command import BUILD, arguments, effort_of, run, shown, tell
from benchmarks.peers import subject


def main() -> None:
    parser = arguments(subject.__doc__, subject.SUBJECT.rounds)
    parser.add_argument("--only", nargs="+", help="of the names in the table")
    parser.add_argument("--out", type=Path, default=BUILD / "peers.json")
    wanted = parser.parse_args()
    one = subject.SUBJECT._replace(measure=partial(subject.measure, only=wanted.only))
    print(shown(one, run(one, effort_of(wanted), wanted.out, tell)))
    print(f"written to {wanted.out}")


if __name__ == "__main__":
    main()
