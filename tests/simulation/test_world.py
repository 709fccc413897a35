"""A fleet in a simulated world, with faults that a seed decides: nothing is lost, nothing is answered twice."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade.adapters.world.link import Weather
from cascade.inference.events import Durability, Kept, Predicted, Sent
from cascade.inference.uplink import UplinkSettings
from cascade.messages import ClassScores

STORM = Weather(latency_s=0.02, jitter_s=0.05, loss=0.15, duplication=0.1, reordering=0.1, late_s=0.3)
UPLINK = UplinkSettings(answer_within_s=1.0, ask_again_s=0.5, ask_again_most_s=4.0, cool_s=0.5, cool_most_s=4.0)


def ask_over_time(fleet, *, count: int, seconds: float, seed: int = 1, **asked) -> None:
    chance = Random(seed)
    for _ in range(count):
        device = chance.randrange(len(fleet.devices))
        fleet.clock.at(chance.random() * seconds, lambda device=device: fleet.ask(device, **asked))


def test_half_leave_the_device_and_half_of_the_rest_the_gateway(make_fleet):
    fleet = make_fleet()
    ask_over_time(fleet, count=400, seconds=20.0)
    fleet.clock.run_until(30.0)
    tiers = [told[-1][1].tier for told in fleet.application.told.values()]
    assert len(tiers) == 400
    shares = {tier: tiers.count(tier) / 400 for tier in ("edge", "fog", "cloud")}
    assert 0.4 < shares["edge"] < 0.6
    assert 0.15 < shares["fog"] < 0.35
    assert 0.15 < shares["cloud"] < 0.35


def test_with_the_cloud_gone_each_question_is_answered_by_its_deadline(make_fleet):
    fleet = make_fleet(uplink=UPLINK)
    fleet.clock.at(5.0, fleet.cloud.crash)
    ask_over_time(fleet, count=300, seconds=20.0, deadline_s=0.5)
    asked_at = {}
    for device in fleet.devices:
        device.on_event = lambda event, effects, now: (
            asked_at.setdefault(event.question.id, now) if hasattr(event, "question") else None
        )
    fleet.clock.run_until(40.0)
    waits = [fleet.application.told[id][0][0] - asked_at[id] for id in fleet.application.accepted]
    assert max(waits) <= 0.5 + 1e-6
    assert fleet.application.outcomes() == {"answered": 300, "open": 0}


def test_a_cut_link_gives_provisional_answers_and_corrections_when_it_heals(make_fleet):
    fleet = make_fleet(uplink=UPLINK)
    fleet.clock.at(2.0, fleet.links[0].cut)
    fleet.clock.at(12.0, fleet.links[0].heal)
    for number in range(100):
        fleet.clock.at(2.0 + number * 0.05, lambda: fleet.ask(0, keep_s=60.0))
    fleet.clock.run_until(60.0)
    told = fleet.application.told.values()
    corrected = [answers for answers in told if answers[0][1].provisional and answers[-1][1].correction]
    assert len(corrected) > 30
    assert fleet.application.outcomes() == {"answered": 100, "open": 0}
    assert not fleet.application.answered_twice()


def test_through_a_storm_nothing_is_lost_and_nothing_is_answered_twice(make_fleet):
    fleet = make_fleet(weather_below=STORM, weather_above=STORM, uplink=UPLINK)
    ask_over_time(fleet, count=500, seconds=30.0, keep_s=600.0)
    fleet.clock.run_until(31.0)
    assert_all_end_once(fleet, 1500.0)


@pytest.mark.parametrize("seed", range(8))
def test_devices_gateway_and_cloud_crash_and_synced_questions_survive(make_fleet, seed):
    fleet = stormy_fleet_that_crashes(make_fleet, seed)
    kept = kept_questions(fleet)
    fleet.clock.run_until(35.0)
    only_those_on_disk_were_accepted(fleet, kept)
    assert len(kept) > 200
    assert_all_end_once(fleet, 1500.0)


def test_the_books_catch_a_spool_that_forgets_when_the_message_has_left(make_fleet):
    """A mutant: were this not found, the tests above would prove nothing."""
    fleet = stormy_fleet_that_crashes(make_fleet, 1)
    kept = kept_questions(fleet, forgets_what_was_sent=True)
    fleet.clock.run_until(35.0)
    only_those_on_disk_were_accepted(fleet, kept)
    fleet.clock.run_until(1500.0)
    assert len(fleet.application.open) > 0


def test_the_same_seed_gives_the_same_world(make_fleet):
    def told(seed: int) -> list[tuple[str, float, str]]:
        fleet = make_fleet(seed=seed, weather_below=STORM, weather_above=STORM, uplink=UPLINK)
        ask_over_time(fleet, count=100, seconds=5.0, keep_s=60.0)
        fleet.clock.run_until(100.0)
        return [(id, at, answer.reason) for id, answers in fleet.application.told.items() for at, answer in answers]

    assert told(7) == told(7) != told(8)


def test_a_long_outage_leaves_memory_bounded_and_the_spool_full(make_fleet):
    fleet = make_fleet(devices=1, uplink=UPLINK, device_settings={"max_open": 32})
    fleet.links[0].cut()
    for number in range(1000):
        fleet.clock.at(2.0 + number, lambda: fleet.ask(0, keep_s=100_000.0, durability=Durability.BATCHED))
    fleet.clock.run_until(1100.0)
    device = fleet.devices[0]
    assert len(device.hop.room) <= 32
    assert len(device.spool.rows) > 300
    fleet.links[0].heal()
    assert_all_end_once(fleet, 500.0)
    assert device.spool.rows == {}


def test_ten_times_too_much_is_refused_early_and_the_rest_is_served(make_fleet):
    fleet = make_fleet(devices=1, uplink=UPLINK, device_settings={"max_open": 64})
    for burst in range(20):
        for _ in range(200):
            fleet.clock.at(1.0 + burst, lambda: fleet.ask(0))
    fleet.clock.run_until(60.0)
    outcomes = fleet.application.outcomes()
    assert outcomes["open"] == 0
    assert outcomes["refused"] > 0
    assert outcomes["answered"] >= 20 * 64


@pytest.mark.parametrize("times", [1.3, 3.0, 10.0])
def test_a_model_with_too_much_to_do_does_as_much_as_it_can(make_fleet, make_ladders, times):
    """Served in turn, each question would be run just after its deadline: the model busy, and nobody answered."""
    capacity_per_s, seconds = 16 / 0.02, 4.0

    def engine(tier, wanted):
        return Predicted(wanted.run, tuple(ClassScores((0.95, 0.05)) for _ in wanted.questions), ms=20.0)

    fleet = make_fleet(devices=1, engine=engine, ladders=make_ladders(max_batch=16))
    ask_over_time(fleet, count=int(times * capacity_per_s * seconds), seconds=seconds, deadline_s=0.3)
    fleet.clock.run_until(seconds + 2.0)
    assert fleet.application.outcomes()["answered"] >= 0.9 * capacity_per_s * seconds
    assert fleet.application.outcomes()["open"] == 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    loss=st.floats(0.0, 0.3),
    duplication=st.floats(0.0, 0.3),
    cuts=st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.1, 10.0)), max_size=4),
    deadline_s=st.floats(0.01, 3.0),
    durability=st.sampled_from(list(Durability)),
)
def test_whatever_the_weather_the_books_balance(make_fleet, seed, loss, duplication, cuts, deadline_s, durability):
    weather = Weather(latency_s=0.01, jitter_s=0.05, loss=loss, duplication=duplication, reordering=0.1, late_s=0.5)
    fleet = make_fleet(seed=seed, weather_below=weather, weather_above=weather, uplink=UPLINK)
    for start, length in cuts:
        link = Random(seed + int(start * 1000)).choice([*fleet.links, fleet.cloud_link])
        fleet.clock.at(start, link.cut)
        fleet.clock.at(start + length, link.heal)
    ask_over_time(fleet, count=120, seconds=20.0, seed=seed, keep_s=300.0, deadline_s=deadline_s, durability=durability)
    fleet.clock.run_until(40.0)
    assert_all_end_once(fleet, 1000.0)


def assert_all_end_once(fleet, at_most_s: float) -> None:
    application = fleet.application
    assert application.accepted
    fleet.clock.run_while(lambda: bool(application.open), at_most_s)
    outcomes = application.outcomes()
    assert outcomes["open"] == 0, (outcomes, application.open[:5])
    assert sum(outcomes.values()) == len(application.accepted)
    assert application.answered_twice() == []


def restart(node) -> None:
    if node.hop is None:
        node.start()


def stormy_fleet_that_crashes(make_fleet, seed: int):
    chance = Random(seed)
    fleet = make_fleet(seed=seed, weather_below=STORM, weather_above=STORM, uplink=UPLINK)
    for node in (*fleet.devices, fleet.gateway, fleet.cloud):
        for _ in range(3):
            down = chance.random() * 30.0
            fleet.clock.at(down, node.crash)
            fleet.clock.at(down + 0.1 + chance.random() * 3.0, lambda node=node: restart(node))
    ask_over_time(fleet, count=300, seconds=30.0, seed=seed, keep_s=600.0, durability=Durability.SYNCED)
    return fleet


def kept_questions(fleet, *, forgets_what_was_sent: bool = False) -> set[str]:
    """Fills with the questions whose devices were told that they are on disk: from then on they are accepted."""
    kept: set[str] = set()
    for device in fleet.devices:

        def watch(event, effects, now, device=device) -> None:
            if isinstance(event, Kept):
                kept.add(event.key.id)
            if forgets_what_was_sent and isinstance(event, Sent):
                for key in event.questions:
                    device.spool.forget(key)

        device.on_event = watch
    return kept


def only_those_on_disk_were_accepted(fleet, kept: set[str]) -> None:
    for id in [id for id in fleet.application.accepted if id not in kept]:
        fleet.application.disown(id)
