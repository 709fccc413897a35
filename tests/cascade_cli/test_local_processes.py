"""Whoever starts processes ends them, however it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from cascade_cli.local_processes import end_by_signal


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background ignores it
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def ended_by(number: int, times: int = 1) -> list[str]:
    done: list[str] = []

    async def work() -> None:
        end_by_signal()
        try:
            for _ in range(times):
                os.kill(os.getpid(), number)
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
        except TimeoutError:
            done.append("went on")
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            done.append("cleaned up")

    await asyncio.gather(asyncio.create_task(work()), return_exceptions=True)
    return done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
async def test_it_is_cancelled_once_and_may_clean_up(number):
    assert await ended_by(number, times=3) == ["cleaned up"]


async def test_a_closed_terminal_changes_nothing_where_that_is_wished():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert await ended_by(signal.SIGHUP) == ["went on", "cleaned up"]
