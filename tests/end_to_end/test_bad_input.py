"""Rubbish at every door of a running cascade: it is refused, counted, and nobody else is disturbed."""

from __future__ import annotations

import json
import os
import socket
import time

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cascade.messages import Question, Tensor
from cascade.wire.codec import encode_questions
from cascade.wire.topics import answer_topic, ask_topic
from edge_agent.ask_client import AskRefused, ask

pytestmark = pytest.mark.needs_services
SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)


@pytest.fixture
def publish(running):
    """Publishes whatever bytes on whatever topic, as any client of the broker may."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "stranger", protocol=paho.MQTTv5)
    client.connect("127.0.0.1", running.broker_port)
    client.loop_start()

    def send(topic: str, data: bytes, retain: bool = False) -> None:
        client.publish(topic, data, qos=1, retain=retain).wait_for_publish(5.0)

    yield send
    client.disconnect()
    client.loop_stop()


def question(device: str, **fields) -> Question:
    usual = {
        "id": "q1", "device": device, "stream": "cam", "sequence": 1, "task": "task", "release": "r", "ms_left": 500.0,
        "payload": (Tensor("x", "float32", (6,), bytes(24)),), "digest": b"d",
    }  # fmt: skip
    return Question(**{**usual, **fields})


def faults(running) -> float:
    return running.gateway_daemon.metric("cascade_peer_faults_total")


def still_serves(running, make_sample) -> None:
    answer = ask(running.ask_path, "cam", {"x": make_sample(UNSURE, UNSURE, SURE)}, final=True)
    assert (answer["tier"], answer["label"]) == ("cloud", "yes")


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        (ask_topic("barn.cam9"), b"\xff" * 100),
        (ask_topic("barn.cam9"), os.urandom(5000)),
        (ask_topic("barn.cam9"), encode_questions([question("barn.cam9")])[:-7]),
        (ask_topic("barn.cam9"), encode_questions([question("barn.cam1")])),
        (ask_topic("barn.cam9"), encode_questions([question("field.cam1")])),
        ("cascade/v1/barn/field.cam1/up/ask", encode_questions([question("field.cam1")])),
        ("cascade/v1/barn/barn.cam9/up/metrics", os.urandom(1000)),
        ("cascade/v1/barn/barn.cam9/up/presence", b"\x00\x01\x02"),
    ],
    ids=[
        "not protobuf",
        "random",
        "truncated",
        "another's name",
        "another site",
        "foreign topic",
        "metrics",
        "presence",
    ],
)
def test_what_a_stranger_sends_to_the_gateway_is_counted_and_disturbs_nobody(
    running, publish, make_sample, until, topic, data
):
    def counted() -> float:
        return faults(running) + running.gateway_daemon.metric("cascade_device_metrics_refused_total")

    before = counted()
    publish(topic, data)
    until(lambda: counted() > before, why="the fault counted")
    still_serves(running, make_sample)


def test_a_bomb_of_zeros_is_refused_and_memory_stays(running, publish, make_sample, until):
    import zlib

    bomb = zlib.compress(bytes(200 * 2**20), 9)
    tensor = Tensor("x", "float32", (6,), bomb, "zlib")
    publish(ask_topic("barn.cam9"), encode_questions([question("barn.cam9", payload=(tensor,))]))
    refused = lambda: running.gateway_daemon.metric("cascade_answers_total", outcome="refused")  # noqa: E731
    until(lambda: refused() + faults(running) > 0, why="the bomb refused")
    assert running.gateway_daemon.metric("process_resident_memory_bytes") < 250e6
    still_serves(running, make_sample)


@pytest.mark.parametrize("data", [b"\xff" * 50, os.urandom(2000), b""], ids=["not protobuf", "random", "empty"])
def test_what_a_stranger_sends_to_a_device_is_counted_and_disturbs_nobody(running, publish, make_sample, until, data):
    publish(answer_topic("barn.cam1"), data)
    publish(answer_topic("barn.cam1"), data, retain=True)
    still_serves(running, make_sample)
    publish(answer_topic("barn.cam1"), b"", retain=True)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (np.zeros(5, np.float32), "bad_input"),
        (np.full(6, np.nan, np.float32), "bad_input"),
        (np.zeros(0, np.float32), "bad_input"),
        (np.zeros((2, 6), np.float32), "bad_input"),
    ],
    ids=["wrong shape", "nan", "empty", "two axes"],
)
def test_a_sample_that_does_not_fit_is_refused_by_the_device(running, make_sample, sample, said):
    answer = ask(running.ask_path, "cam", {"x": sample})
    assert (answer["outcome"], answer["reason"]) == ("refused", said)
    still_serves(running, make_sample)


def test_a_giant_sample_is_refused_before_it_is_read(running, make_sample):
    with pytest.raises((AskRefused, ConnectionError, BrokenPipeError)):
        ask(running.ask_path, "cam", {"x": np.zeros(2_000_000, np.float32)})
    still_serves(running, make_sample)


@pytest.mark.parametrize("line", [b"no json\n", b"{}\n", b'{"stream": 7}\n', b"\xff\xfe\n", b"{" * 100_000 + b"\n"])
def test_rubbish_on_the_ask_socket_gets_an_error_line(running, make_sample, line):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5.0)
        raw.connect(str(running.ask_path))
        raw.sendall(line)
        assert "error" in json.loads(raw.makefile().readline())
    still_serves(running, make_sample)


def test_rubbish_on_the_port_of_the_cloud_disturbs_nobody(running, make_sample):
    for data in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(5000), b""):
        with socket.create_connection(("127.0.0.1", running.cloud_port), timeout=5.0) as raw:
            raw.sendall(data)
    still_serves(running, make_sample)


def test_a_full_disk_costs_durability_not_the_answer(running, make_sample, until):
    """The spool's folder is made unusable; what is asked is answered, and is told that it is not safe."""
    agent = running.agent("barn.cam2", stream='durability = "synced"')
    until(agent.has_link, why="agent to gateway")
    path = running.socket_of(agent)
    state = agent.folder / "state"
    for file in state.glob("spool.db*"):
        file.unlink()
    state.rename(agent.folder / "gone")
    state.write_text("in the way")
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        answer = ask(path, "cam", {"x": make_sample(UNSURE, SURE)}, final=True)
        assert answer["outcome"] == "answered"
        if agent.metric("cascade_not_durable_total") > 0:
            break
    else:
        raise AssertionError("it never said that it is not durable")


def test_a_settings_file_with_five_mistakes_tells_all_five(tmp_path):
    import subprocess
    import sys

    path = tmp_path / "edge.toml"
    path.write_text("""
        [device]
        name = "cam1"
        colour = "red"
        [[tasks]]
        name = "task"
        release = "nowhere"
        [[streams]]
        name = "cam"
        task = "birds"
        deadline_ms = -5
        answers = "stdout"
    """)
    ended = subprocess.run(
        [sys.executable, "-m", "edge_agent", "--config", str(path)], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 2
    assert "5 mistakes" in ended.stderr
    for key in ("device.name", "device.colour", "tasks[0].release", "streams[0].task", "streams[0].deadline_ms"):
        assert key in ended.stderr
    assert "Traceback" not in ended.stderr
