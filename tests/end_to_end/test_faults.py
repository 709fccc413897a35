"""Parts are killed, frozen and restarted while questions are under way: nothing is lost, nothing is given twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from edge_agent.ask_client import AskClient, ask

pytestmark = [pytest.mark.needs_services, pytest.mark.timeout(180)]
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
SYNCED = 'durability = "synced"\nkeep_asking_s = 3600\ndeadline_ms = 400'


class Asker:
    """An application with a name: it asks, acts on each final answer, says so, and keeps the books."""

    def __init__(self, site, agent) -> None:
        self.site, self.agent = site, agent
        self.accepted: set[str] = set()
        self.provisional: set[str] = set()
        self.finals: Counter[str] = Counter()
        self.repeats: Counter[str] = Counter()
        self.client: AskClient | None = None

    def connect(self) -> None:
        path = self.site.socket_of(self.agent)
        give_up_at = time.monotonic() + 20.0
        while True:
            try:
                self.client = AskClient(path, name="app", acks=True, timeout_s=2.0)
                return
            except OSError:
                assert time.monotonic() < give_up_at, self.agent.log[-2000:]
                self.agent.still_runs()
                time.sleep(0.02)

    def ask(self, sample, count: int) -> None:
        for _ in range(count):
            self.accepted.add(self.client.submit("cam", {"x": sample}))

    def listen(self, *, until_done: float = 0.0, for_s: float = 0.0) -> None:
        """Act on what comes: until each accepted question has ended, or for so long, or until the agent is gone."""
        ends_at = time.monotonic() + (until_done or for_s)
        while time.monotonic() < ends_at and (for_s or self.missing):
            try:
                answer = self.client.next_answer()
            except TimeoutError:
                continue
            except OSError:
                return
            self._note(answer)

    def _note(self, answer) -> None:
        if answer["provisional"]:
            self.provisional.add(answer["id"])
            return
        (self.repeats if answer["repeated"] else self.finals)[answer["id"]] += 1
        self.client.ack(answer["id"])

    @property
    def missing(self) -> set[str]:
        return self.accepted - set(self.finals) - set(self.repeats)

    def check(self) -> None:
        assert self.missing == set()
        assert max(self.finals.values()) == 1
        assert len(self.accepted) > 0


def test_agent_killed_with_a_full_spool_loses_nothing_and_repeats_nothing(make_site, make_sample, until):
    site = make_site()
    agent = site.agent(stream=SYNCED)
    asker = Asker(site, agent)
    chance = Random(1)
    for _ in range(4):
        asker.connect()
        asker.ask(make_sample(UNSURE, UNSURE, SURE), 40)
        asker.listen(for_s=0.2 + chance.random())
        agent.kill()
        agent.start()
    until(lambda: agent.metric("cascade_spool_questions") >= 160, why="all questions in the spool")
    site.cloud()
    site.gateway()
    asker.connect()
    asker.listen(until_done=60.0)
    asker.check()
    assert len(asker.accepted) == 160
    until(lambda: agent.metric("cascade_spool_questions") == 0, why="an empty spool")


def test_agent_killed_again_and_again_while_answers_come(serving, make_sample, until):
    agent = serving.agent(stream=SYNCED)
    asker = Asker(serving, agent)
    chance = Random(2)
    for _ in range(6):
        asker.connect()
        asker.ask(make_sample(UNSURE, UNSURE, SURE), 25)
        asker.listen(for_s=chance.random() * 0.4)
        agent.kill()
        agent.start()
    asker.connect()
    asker.listen(until_done=60.0)
    asker.check()


def test_the_harness_catches_an_agent_that_forgets_at_the_brokers_acknowledgement(make_site, make_sample, until):
    """A mutant. Were it not found, the tests around this one would prove nothing."""
    site = make_site()
    gateway = site.gateway()
    agent = site.agent(stream=SYNCED, program=str(Path(__file__).with_name("forgetful_agent.py")))
    until(agent.has_link, why="agent to gateway")
    asker = Asker(site, agent)
    asker.connect()
    gateway.freeze()
    asker.ask(make_sample(UNSURE, SURE), 40)
    asker.listen(for_s=1.0)
    agent.kill()
    gateway.kill()
    gateway.start()
    agent.start()
    until(agent.has_link, why="agent to gateway, again")
    asker.connect()
    asker.listen(until_done=6.0)
    assert len(asker.missing) > 0


def test_broker_restarted_in_the_middle(make_site, mosquitto, make_sample, until):
    broker = mosquitto()
    site = make_site(broker.port)
    site.cloud()
    gateway = site.gateway()
    agent = site.agent(stream=SYNCED)
    until(gateway.has_link, why="gateway to cloud")
    asker = Asker(site, agent)
    asker.connect()
    for stop in (broker.restart, lambda: (broker.kill(), broker.start())):
        asker.ask(make_sample(UNSURE, UNSURE, SURE), 50)
        stop()
        asker.ask(make_sample(UNSURE, SURE), 50)
        asker.listen(until_done=60.0)
        asker.check()


def test_gateway_killed_in_the_middle_of_questions(serving, make_sample, until):
    agent = serving.agent(stream=SYNCED)
    until(agent.has_link, why="agent to gateway")
    asker = Asker(serving, agent)
    asker.connect()
    for _ in range(3):
        asker.ask(make_sample(UNSURE, UNSURE, SURE), 50)
        serving.gateway_daemon.kill()
        asker.ask(make_sample(UNSURE, UNSURE, SURE), 10)
        serving.gateway_daemon.start()
    asker.listen(until_done=90.0)
    asker.check()


def test_a_second_gateway_takes_over(serving, make_sample, until):
    second = serving.gateway("barn.gw2")
    until(second.has_link, why="second gateway to cloud")
    agent = serving.agent(stream=SYNCED)
    until(agent.has_link, why="agent to gateway")
    asker = Asker(serving, agent)
    asker.connect()
    asker.ask(make_sample(UNSURE, UNSURE, SURE), 30)
    serving.gateway_daemon.kill()
    asker.ask(make_sample(UNSURE, UNSURE, SURE), 30)
    asker.listen(until_done=60.0)
    asker.check()


def test_with_the_cloud_frozen_answers_come_by_their_deadline(serving, make_sample, until):
    agent = serving.agent(stream="deadline_ms = 500")
    until(agent.has_link, why="agent to gateway")
    path = serving.socket_of(agent)
    sample = make_sample(UNSURE, UNSURE, SURE)
    assert ask(path, "cam", {"x": sample})["tier"] == "cloud"
    serving.cloud_daemon.freeze()
    waits = []
    for _ in range(30):
        began = time.monotonic()
        answer = ask(path, "cam", {"x": sample})
        waits.append(time.monotonic() - began)
        assert answer["outcome"] == "answered"
    assert max(waits) < 0.5 + 0.25, waits
    until(lambda: not serving.gateway_daemon.has_link(), within_s=5.0, why="the gateway notices a frozen cloud")
    began = time.monotonic()
    assert ask(path, "cam", {"x": sample})["tier"] == "fog"
    assert time.monotonic() - began < 0.3
    serving.cloud_daemon.thaw()
    until(serving.gateway_daemon.has_link, why="the link comes back")
    until(lambda: ask(path, "cam", {"x": sample})["tier"] == "cloud", why="the cloud answers again")


def test_with_the_cloud_frozen_corrections_come_when_it_thaws(serving, make_sample, until):
    agent = serving.agent(stream=SYNCED)
    until(agent.has_link, why="agent to gateway")
    serving.cloud_daemon.freeze()
    asker = Asker(serving, agent)
    asker.connect()
    asker.ask(make_sample(UNSURE, UNSURE, SURE), 20)
    asker.listen(for_s=1.5)
    assert asker.provisional == asker.accepted
    serving.cloud_daemon.thaw()
    asker.listen(until_done=60.0)
    asker.check()


def test_with_the_broker_frozen_the_device_answers_alone(make_site, mosquitto, make_sample, until):
    broker = mosquitto()
    site = make_site(broker.port)
    site.cloud()
    gateway = site.gateway()
    agent = site.agent(stream="deadline_ms = 300")
    until(gateway.has_link, why="gateway to cloud")
    until(agent.has_link, why="agent to gateway")
    path = site.socket_of(agent)
    broker.freeze()
    for _ in range(5):
        began = time.monotonic()
        assert ask(path, "cam", {"x": make_sample(UNSURE, SURE)})["tier"] == "edge"
        assert time.monotonic() - began < 0.6
    until(lambda: not agent.has_link(), within_s=10.0, why="the agent notices a frozen broker")
    broker.thaw()
    until(agent.has_link, why="the link comes back")
    until(lambda: ask(path, "cam", {"x": make_sample(UNSURE, SURE)})["tier"] == "fog", why="the gateway answers again")


def test_an_application_that_acknowledges_late_empties_the_spool(make_site, make_sample, until):
    site = make_site()
    agent = site.agent(stream=SYNCED)
    asker = Asker(site, agent)
    asker.connect()
    asker.ask(make_sample(SURE), 600)
    asker.listen(until_done=30.0)
    asker.check()
    until(lambda: agent.metric("cascade_spool_questions") == 0, why="an empty spool")


def test_a_silent_gateway_that_wakes_is_asked_again_though_nobody_asks_anything_new(serving, make_sample, until):
    agent = serving.agent(stream=SYNCED)
    until(agent.has_link, why="agent to gateway")
    asker = Asker(serving, agent)
    asker.connect()
    serving.cloud_daemon.freeze()
    asker.ask(make_sample(UNSURE, UNSURE, SURE), 100)
    asker.listen(for_s=1.0)
    serving.gateway_daemon.freeze()
    asker.ask(make_sample(UNSURE, UNSURE, SURE), 100)
    asker.listen(for_s=3.0)
    serving.gateway_daemon.thaw()
    serving.cloud_daemon.thaw()
    asker.listen(until_done=60.0)
    asker.check()


def test_told_to_stop_under_load_an_agent_stops_at_once_and_in_order(make_site, make_sample):
    site = make_site()
    agent = site.agent(stream='durability = "memory"', more='[model]\nthread = "always"')
    asker = Asker(site, agent)
    asker.connect()
    asker.ask(make_sample(SURE), 300)
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < 5.0
    assert "Traceback" not in agent.log
