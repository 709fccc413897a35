"""The course of the demo, with no process behind it: what is said of the link, and when."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cascade_cli.demo.asking import Given
from cascade_cli.demo.digits import Split
from cascade_cli.demo.show import TOLD_OF_MANY, Show
from cascade_cli.demo.view import View


class Line:
    """Says that it was cut and mended, and does nothing."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def cut(self) -> None:
        self.done.append("cut")

    def mend(self) -> None:
        self.done.append("mended")


def given(tier: str, **more: Any) -> Given:
    answer = {
        "id": "q1", "tag": "1", "stream": "digits", "tier": tier, "label": "3", "reason": "sure",
        "provisional": False, "correction": False, "trail": [],
    }  # fmt: skip
    return Given("barn.cam1", answer | more, right=True, ms=5.0)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def noted() -> list[Given]:
    return []


@pytest.fixture
def show(out: io.StringIO, noted: list[Given]) -> Show:
    fleet: Any = SimpleNamespace(socket=Path, line=Line(), check=lambda: None)
    images = Split(np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64))
    made = Show(fleet, images, View(out), 0.03, noted.append)
    made._showing = True
    return made


def said_of_the_link(out: io.StringIO) -> list[str]:
    return [line for line in out.getvalue().splitlines() if line.startswith("---")]


async def test_the_link_is_in_use_when_the_cloud_has_answered_and_not_before(show: Show, out: io.StringIO):
    await show._cut_and_mend()
    show._heard(given("fog"))
    assert said_of_the_link(out) == [
        "--- the link between gateway and cloud is CUT ---",
        "--- the link between gateway and cloud is whole again, the gateway is reconnecting ---",
    ]
    show._heard(given("cloud"))
    show._heard(given("cloud"))
    assert said_of_the_link(out)[2:] == [
        "--- the link between gateway and cloud is whole again, and in use after 0.0 s ---"
    ]


def test_only_what_is_shown_is_noted(show: Show, noted: list[Given]):
    show._heard(given("edge"))
    show._showing = False
    show._heard(given("fog"))
    assert [each.answer["tier"] for each in noted] == ["edge"]


def test_in_a_pipe_one_of_many_usual_answers_is_told_and_each_that_is_special(show: Show, out: io.StringIO):
    for _ in range(TOLD_OF_MANY + 1):
        show._heard(given("edge"))
    show._heard(given("fog", provisional=True))
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["final", "final", "provisional"]
