"""When to connect again."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from cascade.adapters.transports.backoff import Backoff

CHANCES = st.floats(0.0, 1.0)


def test_the_first_try_comes_soon_and_the_delays_grow_to_their_cap() -> None:
    backoff = Backoff(1.0, 30.0, 6, lambda: 1.0)
    assert [backoff.next_s(0.0) for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_jitter_is_full() -> None:
    assert Backoff(1.0, 30.0, 6, lambda: 0.0).next_s(0.0) == 0.0


def test_a_refusal_waits_at_the_slow_end() -> None:
    assert Backoff(1.0, 30.0, 6, lambda: 0.0).next_s(0.0, refused=True) == 15.0


def test_a_connection_that_lasted_begins_anew() -> None:
    backoff = Backoff(1.0, 30.0, 6, lambda: 1.0)
    for _ in range(5):
        backoff.next_s(0.0)
    assert backoff.next_s(100.0, lived_s=60.0) == 1.0


def test_a_connection_that_did_not_last_goes_on_backing_off() -> None:
    backoff = Backoff(1.0, 30.0, 6, lambda: 1.0)
    assert [backoff.next_s(0.0, lived_s=0.5) for _ in range(3)] == [1.0, 2.0, 4.0]


@given(st.lists(st.tuples(CHANCES, st.floats(0.0, 20.0)), min_size=10, max_size=60))
def test_there_are_at_most_six_connects_in_any_minute(lives: list[tuple[float, float]]) -> None:
    chance = 0.0
    backoff = Backoff(1.0, 30.0, 6, lambda: chance)
    now, connects = 0.0, []
    for drawn, lived_s in lives:
        chance = drawn
        backoff.connected(now)
        connects.append(now)
        now += lived_s
        now += backoff.next_s(now, lived_s)
    assert all(later - earlier >= 60.0 - 1e-6 for earlier, later in zip(connects, connects[6:], strict=False))


def test_a_thousand_that_lose_their_broker_together_are_spread_and_back_within_thirty_seconds() -> None:
    dice = random.Random(7)
    first = sorted(Backoff(1.0, 30.0, 6, dice.random).next_s(0.0) for _ in range(1000))
    assert first[-1] <= 1.0
    assert max(sum(at <= moment < at + 0.1 for moment in first) for at in first) < 150
