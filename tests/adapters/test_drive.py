"""The pump: what it says of itself while it works, when it hangs, and when the machine breaks."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from cascade.adapters.drive import Drive


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Obedient:
    """Does what an event says: a time is when it wants to be woken, an error is raised, a callable is called."""

    def __init__(self) -> None:
        self.wakes_at: float | None = None
        self.handled: list[Any] = []

    def handle(self, event: Any, now: float) -> list[Any]:
        self.handled.append(event)
        if isinstance(event, Exception):
            raise event
        if isinstance(event, float):
            self.wakes_at = event
        elif callable(event):
            event()
        elif event == "tick":
            self.wakes_at = None
        return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drive(clock: Clock) -> Drive[Any, Any]:
    return Drive(Obedient(), "tick", perform=lambda effects: None, flush=lambda: None, clock=clock)


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_pump_with_nothing_to_do_is_not_idle(drive, clock):
    drive.start()
    await turns()
    clock.now += 1000
    assert drive.idle_s() == 0.0


async def test_what_is_due_and_not_done_is_counted_from_when_it_was_due(drive, clock):
    drive.start()
    drive.post(clock.now + 50.0)
    await turns()
    clock.now += 49.0
    assert drive.idle_s() == 0.0
    clock.now += 8.0
    assert drive.idle_s() == pytest.approx(7.0)


async def test_a_machine_that_hangs_shows_while_it_hangs(drive, clock):
    seen = []

    def hang() -> None:
        clock.now += 30.0
        seen.append(drive.idle_s())

    drive.start()
    drive.post(hang)
    await turns()
    assert seen == [pytest.approx(30.0)]
    assert drive.idle_s() == 0.0


async def test_a_machine_that_breaks_ends_the_pump_and_whoever_waits_for_it(drive):
    drive.start()
    ending = asyncio.create_task(drive.until(asyncio.Event()))
    drive.post(ValueError("a bug"))
    drive.post("never handled")
    with pytest.raises(ValueError, match="a bug"):
        await ending
    drive.post("neither is this")
    await turns()
    assert drive.machine.handled[1:] == []
    assert (str(drive.broken), drive.idle_s()) == ("a bug", math.inf)


async def test_who_waits_returns_when_told_and_the_pump_goes_on(drive):
    drive.start()
    told = asyncio.Event()
    told.set()
    await drive.until(told)
    drive.post("more")
    await turns()
    assert drive.machine.handled == ["more"]


async def test_a_stopped_pump_does_what_is_there_and_nothing_after_that(drive):
    drive.start()
    drive.post("there")
    drive.stop()
    drive.post("too late")
    drive.post_from_thread("too late")
    await turns()
    assert drive.machine.handled == ["there"]


async def test_what_was_sent_is_noted_in_the_turn_that_sent_it(clock):
    machine, flushes = Obedient(), []

    def flush() -> None:
        flushes.append(len(machine.handled))
        if len(flushes) == 1:
            drive.post("sent")

    drive = Drive(machine, "tick", perform=lambda effects: None, flush=flush, clock=clock)
    drive.start()
    drive.post("asked")
    await turns(1)
    assert (machine.handled, flushes) == (["asked", "sent"], [1])


async def test_what_that_calls_for_has_a_turn_of_its_own(clock):
    class Answering(Obedient):
        def handle(self, event: Any, now: float) -> list[Any]:
            super().handle(event, now)
            return ["ask again"] if event == "sent" else []

    machine, flushes, wanted = Answering(), [], []

    def flush() -> None:
        if not flushes:
            drive.post("sent")
        flushes.append(wanted.copy())

    drive = Drive(machine, "tick", perform=wanted.extend, flush=flush, clock=clock)
    drive.start()
    drive.post("asked")
    await turns()
    assert flushes == [[], ["ask again"]]
