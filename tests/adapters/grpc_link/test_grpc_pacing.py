"""A slow line makes answers late; it doesn't make the link seem dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.adapters.transports.pacing import FIRST_BYTES, LEAST_BYTES, MOST_BYTES, Pace
from cascade.inference.events import Answered, Asked, LinkLost, LinkUp
from cascade.messages import Answer, Question

BYTES_PER_S = 30_000


def fill(pace: Pace, now: float) -> int:
    """Send a kilobyte at a time until the window is closed; the last ping."""
    last = 0
    while pace.is_open:
        last = pace.sending(1024, now) or last
    return last


def test_a_full_window_closes_and_its_pong_opens_it() -> None:
    pace = Pace(4.0)
    last = fill(pace, 0.0)
    assert pace.unproven_bytes >= FIRST_BYTES
    pace.pong(last, 0.01)
    assert pace.is_open


def test_whenever_the_window_is_closed_a_pong_is_awaited_that_opens_it() -> None:
    pace = Pace(4.0)
    for turn in range(200):
        last = fill(pace, float(turn))
        assert last
        pace.pong(last, turn + (0.01 if turn % 3 else 3.0))
        assert pace.is_open


def test_a_quick_line_gets_a_wide_window() -> None:
    pace = Pace(4.0)
    for turn in range(20):
        pace.pong(fill(pace, float(turn)), turn + 0.01)
    assert pace.window_bytes == MOST_BYTES


def test_a_slow_line_gets_a_narrow_window() -> None:
    pace = Pace(4.0)
    for turn in range(20):
        pace.pong(fill(pace, turn * 10.0), turn * 10.0 + 5.0)
    assert pace.window_bytes == LEAST_BYTES


def test_an_idle_line_proves_nothing_about_a_wide_window() -> None:
    pace = Pace(4.0)
    for turn in range(100):
        pace.pong(pace.ping(float(turn)), turn + 0.001)
    assert pace.window_bytes == FIRST_BYTES


def test_after_a_loss_with_bytes_on_the_way_less_is_sent_at_once() -> None:
    pace = Pace(4.0)
    fill(pace, 0.0)
    pace.lost()
    assert (pace.window_bytes, pace.unproven_bytes) == (FIRST_BYTES / 2, 0)


def test_a_loss_of_an_idle_link_changes_nothing() -> None:
    pace = Pace(4.0)
    pace.lost()
    assert pace.window_bytes == FIRST_BYTES


@given(st.lists(st.one_of(st.integers(1, 2**20), st.integers(-5, 2**64).map(lambda number: ("pong", number)))))
def test_whatever_is_ponged_the_books_stay_right(steps: list[Any]) -> None:
    pace = Pace(3.0)
    for now, step in enumerate(steps):
        if isinstance(step, tuple):
            pace.pong(step[1], float(now))
        else:
            pace.sending(step, float(now))
        assert pace.unproven_bytes >= 0
        assert LEAST_BYTES <= pace.window_bytes <= MOST_BYTES


async def slowly(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """With as much buffer as a cheap router has: far too much."""
    with suppress(OSError):
        while data := await source.read(2048):
            await asyncio.sleep(len(data) / BYTES_PER_S)
            sink.write(data)
            await sink.drain()


@pytest.mark.slow
async def test_a_slow_line_with_many_questions_in_flight_stays_up(
    ends: Any, asked_by: Callable[..., list[Question]], answer_to: Callable[[Question], Answer]
) -> None:
    below, heard = await ends.below()
    pumps: list[asyncio.Task[None]] = []

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", below.port)
        pumps.extend(asyncio.create_task(slowly(*way)) for way in ((reader, back), (there, writer)))

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    above, ear = await ends.above(server.sockets[0].getsockname()[1], heartbeat_s=0.3, dead_after_s=1.5)
    await ear.wait_for(LinkUp)
    above.ask(asked_by("barn.cam1", 600))
    for count in range(1, 601):
        asked = (await heard.wait_for(Asked, count))[count - 1]
        below.reply(asked.back, [answer_to(asked.question)])
    await ear.wait_for(Answered, 600)
    assert not ear.all(LinkLost)
    await above.close()
    server.close()
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
