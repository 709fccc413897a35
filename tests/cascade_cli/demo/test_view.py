"""What the demo shows: within the narrowest terminal, in the plainest, and without two numbers that look alike."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from cascade_cli.demo.asking import Given, Score
from cascade_cli.demo.view import LEGEND, View, line, page, table, told

COLUMNS = 79


def step(tier: str, verdict: str, confidence: float | None, threshold: float | None = None) -> dict[str, Any]:
    return {"tier": tier, "verdict": verdict, "confidence": confidence, "threshold": threshold}


CLIMBED = (step("edge", "climb", 0.51, 0.725), step("fog", "climb", 0.77, 0.85), step("cloud", "answer", 0.777))


def given(*trail: dict[str, Any], ms: float = 401.2, **more: Any) -> Given:
    said = {"provisional": True, "correction": False, "label": "2", "tier": "cloud", "trail": list(trail)}
    return Given("barn.cam1", said | more, right=True, ms=ms)


@pytest.fixture
def score() -> Score:
    made = Score()
    for ms in (2.4, 999.2):
        made.first(given(*CLIMBED, ms=ms))
        made.last.append(given(*CLIMBED, ms=ms))
    made.bytes_up, made.joules, made.asked = 12_345, 0.0123456, 6480
    return made


def test_an_answer_says_in_a_short_line_why_it_climbed():
    assert told(given(*CLIMBED)) == "cam1 provisional  2 ✓ cloud  401 ms  edge .51<.72 ↑ fog .77<.85 ↑ cloud .78 ✓"


def test_numbers_that_differ_are_told_apart():
    assert "edge .721<.725 ↑" in told(given(step("edge", "climb", 0.7213, 0.725)))


def test_what_has_no_score_has_no_number():
    assert told(given(step("fog", "climb", None))).endswith("  fog ↑")


@pytest.mark.parametrize(("ms", "said"), [(2.44, "2.4 ms"), (401.2, "401 ms"), (1000.0, "1.0 s"), (6210.0, "6.2 s")])
def test_a_time_is_told_in_its_unit(ms, said):
    assert f" {said}  " in told(given(ms=ms))


def test_all_of_it_fits_into_eighty_columns(score):
    rows = {"cascade": score, "cascade, link cut for 6 s": score}
    lines = [*page(12.0, "whole again, the gateway is reconnecting", score, 20), *table(rows), LEGEND]
    assert [each for each in lines if len(each) > COLUMNS] == []


def test_in_a_pipe_the_costs_are_told_as_they_arise(score):
    said = line(4.0, "whole", score)
    assert "p50 999 ms" in said
    assert "bytes up" in said
    assert "mJ (estimated)" in said


def test_a_terminal_that_knows_only_ascii_is_told_in_ascii(score):
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding="ascii")
    view = View(out)
    for each in [*page(1.0, "CUT", score, 0), *table({"cascade": score})]:
        view.say(each)
    assert "edge .51<.72 ^ fog .77<.85 ^ cloud .78 +" in written.getvalue().decode()


def test_no_more_is_drawn_over_than_the_terminal_has_lines(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 10)))
    out = io.StringIO()
    View(out).draw(["line"] * 18)
    assert out.getvalue().count("\n") == 9
