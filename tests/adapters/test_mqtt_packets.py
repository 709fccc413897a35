"""Rubbish for the readers of MQTT packets, one by one and behind the port of an embedded broker; and that by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.embedded_broker import EmbeddedBroker
from cascade.adapters.transports.mqtt_packets import Malformed, text

PATIENCE_S = 10.0
READERS: list[Callable[[bytes], object]] = [
    packets.read_connect,
    packets.read_subscribe,
    packets.read_unsubscribe,
    packets.read_disconnect,
    lambda body: packets.read_publish(packets.PUBLISH, body),
    lambda body: packets.read_publish(packets.PUBLISH | 2, body),
]
HELLO = text("MQTT") + b"\x05\x02\x00\x3c\x00" + text("name")
WHOLE = [
    text("MQTT")
    + b"\x05\x86\x00\x3c\x05\x11\0\0\0\x05"
    + text("name")
    + b"\0"
    + text("will")
    + text("gone")
    + text("user"),
    b"\0\1\0" + text("a/b") + b"\1" + text("$share/g/c") + b"\1",
    text("a/b") + b"\0\1\0payload",
    b"\x04\x05\x11\0\0\0\x05",
    text("a") + b"\0\1\x0e\x02\0\0\0\x05\x26\0\1k\0\1v\x01\x01payload",
]


def read_or_malformed(body: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(Malformed):
            read(body)


def test_the_whole_packets_of_this_test_are_read() -> None:
    connect = packets.read_connect(WHOLE[0])
    assert (connect.username, connect.session_expiry_s) == ("user", 5)
    assert connect.will is not None
    assert connect.will.message.payload == b"gone"
    assert [wanted.filter for wanted in packets.read_subscribe(WHOLE[1])[1]] == ["a/b", "$share/g/c"]
    assert packets.read_publish(packets.PUBLISH | 2, WHOLE[2]).message.payload == b"payload"
    assert packets.read_disconnect(WHOLE[3]) == (packets.WITH_WILL, 5)
    assert packets.read_publish(packets.PUBLISH | 2, WHOLE[4]).expiry_s == 5


@given(st.binary(max_size=200))
def test_a_reader_reads_or_says_malformed_whatever_comes(body: bytes) -> None:
    read_or_malformed(body)


@given(st.sampled_from(WHOLE), st.integers(0, 80), st.binary(min_size=1, max_size=4), st.integers(0, 80))
@settings(max_examples=300)
def test_a_reader_survives_packets_that_are_nearly_right(body: bytes, at: int, patch: bytes, cut: int) -> None:
    bent = body[:at] + patch + body[at + len(patch) :]
    read_or_malformed(bent[: max(1, len(body) - cut % len(body))])


async def talk(port: int, *pieces: bytes) -> bytes:
    """Say all that, and listen until the broker hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
    writer.write_eof()
    heard = b""
    with contextlib.suppress(ConnectionError):
        heard = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
    writer.close()
    return heard


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8))
@settings(max_examples=50, deadline=None)
def test_whatever_is_sent_in_whatever_pieces_the_broker_serves_the_next(pieces: list[bytes]) -> None:
    async def attacked() -> list[object]:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        broker = EmbeddedBroker()
        await broker.start()
        await talk(broker.port, packets.packet(packets.CONNECT, HELLO), *pieces)
        assert (await talk(broker.port, packets.packet(packets.CONNECT, HELLO)))[0] == packets.CONNACK
        await broker.stop()
        return complaints

    assert not asyncio.run(attacked())


@pytest.mark.needs_services
async def test_the_broker_runs_by_itself_and_says_what_it_is() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cascade.adapters.transports.embedded_broker", "--port", "0",
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )  # fmt: skip
    assert process.stderr is not None
    said = (await asyncio.wait_for(process.stderr.readline(), PATIENCE_S)).decode()
    assert "for demos and tests: everybody may do everything" in said
    port = int(said.partition("127.0.0.1:")[2].partition(",")[0])
    assert (await talk(port, packets.packet(packets.CONNECT, HELLO)))[0] == packets.CONNACK
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
