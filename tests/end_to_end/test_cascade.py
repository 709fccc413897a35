"""Real processes and a real mosquitto: a question is born on a device, climbs, and its answer comes back."""

from __future__ import annotations

import pytest

from edge_agent.ask_client import AskClient, ask

pytestmark = pytest.mark.needs_services
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)


def test_each_tier_answers_what_it_is_sure_of(running, make_sample):
    by_tier = {
        "edge": make_sample(SURE),
        "fog": make_sample(UNSURE, SURE),
        "cloud": make_sample(UNSURE, UNSURE, SURE),
    }
    for tier, sample in by_tier.items():
        answer = ask(running.ask_path, "cam", {"x": sample}, final=True)
        assert (answer["tier"], answer["label"], answer["outcome"]) == (tier, "yes", "answered")


def test_the_trail_names_every_hop_with_what_it_saw(running, make_sample):
    answer = ask(running.ask_path, "cam", {"x": make_sample(UNSURE, UNSURE, SURE)}, final=True)
    trail = answer["trail"]
    assert [step["node"] for step in trail] == ["barn.cam1", "barn.gw1", "cloud"]
    assert [step["verdict"] for step in trail] == ["climb", "climb", "answer"]
    assert trail[0]["bytes_up"] > 24
    assert trail[1]["bytes_up"] > 24
    assert abs(trail[0]["confidence"] - 0.55) < 1e-6
    assert trail[0]["threshold"] == 0.9


def test_a_question_that_climbs_is_counted_once_at_each_hop(running, make_sample, until):
    for sample in [make_sample(SURE)] * 6 + [make_sample(UNSURE, SURE)] * 4 + [make_sample(UNSURE, UNSURE)] * 2:
        ask(running.ask_path, "cam", {"x": sample}, final=True)
    daemons = (running.agent_daemon, running.gateway_daemon, running.cloud_daemon)

    def counted() -> list[tuple[float, ...]]:
        """Of each hop: answered here, passed up. A page of metrics may be a moment old."""
        verdicts = ("answer", "climb")
        return [tuple(each.metric("cascade_questions_total", verdict=one) for one in verdicts) for each in daemons]

    until(lambda: counted() == [(6, 6), (4, 2), (2, 0)], why="each question counted once at each of its hops")


def test_the_gateway_shows_the_devices_metrics(running, make_sample, until):
    def shown() -> bool:
        page = running.gateway_daemon.metrics()
        return 'device="barn.cam1"' in page and running.gateway_daemon.metric("cascade_devices_online") == 1.0

    until(shown, why="the device among the gateway's metrics")


def test_many_questions_at_once_come_back_each_to_its_own(running, make_sample):
    with AskClient(running.ask_path) as client:
        wanted = {}
        for number in range(200):
            sure_at = number % 3
            sample = make_sample(*[(0.01, 0.99) if tier == sure_at else UNSURE for tier in range(3)])
            wanted[client.submit("cam", {"x": sample}, deadline_ms=20_000)] = ("edge", "fog", "cloud")[sure_at]
        got = {}
        while len(got) < len(wanted):
            answer = client.next_answer()
            if not answer["provisional"]:
                got[answer["id"]] = answer["tier"]
    assert got == wanted


def test_all_three_stop_cleanly_when_told(running):
    codes = [daemon.stop() for daemon in (running.agent_daemon, running.gateway_daemon, running.cloud_daemon)]
    assert codes == [0, 0, 0]
