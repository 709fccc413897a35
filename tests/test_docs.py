"""What the documents say is so: promises point to tests that are there, diagrams are those of the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cascade.inference.breaker import CIRCUITS
from cascade.inference.careful import STANDINGS
from cascade.inference.waiting import LIVES

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.findall(r"`(tests/[^`]+)`", (ROOT / "docs/promises.md").read_text())


@pytest.mark.parametrize("named", NAMED)
def test_a_promise_points_to_a_test_that_is_there(named):
    path, _, test = named.partition("::")
    place = ROOT / path
    assert place.exists(), f"{path} is not there"
    if test:
        assert re.search(rf"def {re.escape(test)}\(", place.read_text()), f"{path} has no {test}"


def test_every_promise_names_a_test():
    promises = (ROOT / "docs/promises.md").read_text().split("## What the core will not do")[0]
    for promise in re.split(r"\n(?=\d+\. )", promises)[1:]:
        assert "`tests/" in promise, promise[:60]


@pytest.mark.parametrize(
    ("name", "table"), [("waiting LIVES", LIVES), ("breaker CIRCUITS", CIRCUITS), ("careful STANDINGS", STANDINGS)]
)
def test_a_state_diagram_is_drawn_from_its_table(name, table):
    page = (ROOT / "docs/flows.md").read_text()
    drawn = page.split(f"<!-- drawn: cascade.inference.{name} -->\n```mermaid\n")[1].split("\n```")[0]
    assert drawn == table.drawn()


def test_every_reason_that_the_core_gives_is_in_the_list():
    listed = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/flows.md").read_text().split("## Reasons")[1]))
    code = "\n".join(path.read_text() for path in (ROOT / "cascade/inference").glob("*.py"))
    given = set(
        re.findall(
            r'(?:Decision\(Verdict\.\w+, |turn_away\([^"\n]*, |without_above\([^"\n]*, |refuse\([^"\n]*, )"(\w+)"', code
        )
    )
    given |= {"link_down", "breaker_open", "no_budget", "deadline", "gave_up", "overloaded"}
    assert given - listed == set()
