"""What else the three daemons do: sensors, topics, several tasks, health, stopping in good order."""

from __future__ import annotations

import json
import queue
import signal
import urllib.request

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cascade.adapters.scripted_release import write_scripted_release
from cascade.wire.codec import decode_answers
from cascade.wire.topics import answers_topic
from edge_agent.ask_client import AskClient, ask

pytestmark = pytest.mark.needs_services
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)


def replay(folder, samples, rate_hz: float = 0.0) -> str:
    np.savez(folder / "samples.npz", x=np.stack(samples))
    return f'sensor = {{ kind = "replay", path = "{folder}/samples.npz", rate_hz = {rate_hz} }}\ndeadline_ms = 5000'


def test_a_sensors_answers_are_lines_on_standard_output_and_at_its_end_the_agent_ends(
    serving, make_sample, tmp_path, until
):
    samples = [make_sample(SURE), make_sample(UNSURE, SURE), make_sample(UNSURE, UNSURE)] * 20
    agent = serving.agent(stream=replay(tmp_path, samples, rate_hz=60.0), socket=False)
    assert agent.process.wait(30.0) == 0, agent.log
    answers = agent.answers()
    assert sorted(answer["sequence"] for answer in answers) == list(range(1, 61))
    assert {answer["outcome"] for answer in answers} == {"answered"}
    assert {answer["tier"] for answer in answers[-15:]} == {"edge", "fog", "cloud"}


def test_answers_can_go_to_a_topic_of_the_broker(serving, make_sample, tmp_path, until):
    heard: queue.Queue[bytes] = queue.Queue()
    listener = paho.Client(CallbackAPIVersion.VERSION2, "application", protocol=paho.MQTTv5)
    listener.on_message = lambda client, userdata, message: heard.put(message.payload)
    listener.connect("127.0.0.1", serving.broker_port)
    listener.subscribe(answers_topic("barn.cam1"), qos=1)
    listener.loop_start()
    stream = replay(tmp_path, [make_sample(UNSURE, SURE)] * 40, rate_hz=20.0) + '\nanswers = "mqtt"'
    serving.agent(stream=stream, socket=False)
    answers = decode_answers(heard.get(timeout=20.0))
    listener.disconnect()
    listener.loop_stop()
    assert answers[0].device == "barn.cam1"
    assert answers[0].label == "yes"


def test_a_gateway_serves_several_tasks_at_once(make_site, make_sample, until, tmp_path):
    site = make_site()
    birds = write_scripted_release(tmp_path / "birds", task="birds", labels=("owl", "wren"))
    more = f'[[tasks]]\nname = "birds"\nrelease = "{birds}"'
    site.cloud(more)
    gateway = site.gateway(more=more)
    agent = site.agent(more=f'{more}\n[[streams]]\nname = "ear"\ntask = "birds"\nanswers = "asker"')
    until(gateway.has_link, why="gateway to cloud")
    until(agent.has_link, why="agent to gateway")
    path = site.socket_of(agent)
    for stream, label in (("cam", "yes"), ("ear", "wren")):
        answer = ask(path, stream, {"x": make_sample(UNSURE, UNSURE, SURE)}, final=True)
        assert (answer["tier"], answer["label"]) == ("cloud", label)
    until(lambda: gateway.metric("cascade_questions_total", task="birds") == 1, why="both tasks counted")


def test_told_to_stop_the_cloud_answers_what_it_has_taken(make_site, make_sample, until):
    site = make_site()
    write_scripted_release(site.release, faults={"cloud": {"delay_ms": 400}})
    cloud = site.cloud()
    gateway = site.gateway()
    agent = site.agent(stream="deadline_ms = 10000")
    until(gateway.has_link, why="gateway to cloud")
    until(agent.has_link, why="agent to gateway")
    with AskClient(site.socket_of(agent)) as client:
        asked = {client.submit("cam", {"x": make_sample(UNSURE, UNSURE, SURE)}) for _ in range(20)}
        until(lambda: cloud.metric("cascade_asked_total") >= 20, why="the cloud has taken them")
        cloud.signal(signal.SIGTERM)
        tiers = {answer["id"]: answer["tier"] for answer in (client.next_answer() for _ in asked)}
    assert tiers == dict.fromkeys(asked, "cloud")
    assert cloud.process.wait(15.0) == 0


def test_the_cloud_tells_load_balancers_that_it_serves(serving):
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{serving.cloud_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5.0)
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_each_daemon_says_that_it_makes_progress(serving):
    agent = serving.agent()
    serving.socket_of(agent)
    for daemon in (agent, serving.gateway_daemon, serving.cloud_daemon):
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.metrics_port}/healthz", timeout=5.0) as page:
            assert page.status == 200


def test_logs_can_be_objects_for_a_collector(serving, until):
    agent = serving.agent(more='[log]\nformat = "json"')
    until(agent.has_link, why="agent to gateway")
    lines = [json.loads(line) for line in agent.log.splitlines()]
    assert {"at", "level", "where", "message"} <= set(lines[0])


def test_a_port_that_is_taken_is_told_plainly(serving, until):
    port = serving.gateway_daemon.metrics_port
    second = serving.agent("barn.cam2")
    second.kill()
    second.config.write_text(second.config.read_text().replace(str(second.metrics_port), str(port)))
    second.start()
    assert second.process.wait(20.0) == 1
    assert f"127.0.0.1:{port}" in second.log
    assert "Traceback" not in second.log.split("edge-agent:")[-1]
