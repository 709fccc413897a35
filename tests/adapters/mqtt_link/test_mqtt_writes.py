"""When a connection writes: acknowledgements travel with what is sent anyway, and alone only where nothing is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cascade.adapters.transports import mqtt_connection
from cascade.adapters.transports.mqtt_connection import Connection
from cascade.adapters.transports.mqtt_messages import puback
from cascade.adapters.transports.mqtt_settings import MqttSettings


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours, and the broker's."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


class Ears:
    """Whom the broker's acknowledgements reach."""

    def __init__(self) -> None:
        self.acknowledgements: list[int] = []

    def acknowledged(self, mid: int, code: int) -> None:
        self.acknowledgements.append(mid)


def connection(sock: socket.socket, ears: Any = None, **settings: Any) -> Connection:
    return Connection(MqttSettings(client_id="barn.cam1", **settings), ears, sock)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "ACK_WITHIN_S", 3600.0)


async def read(sock: socket.socket) -> bytes:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(sock, 4096)


async def test_an_acknowledgement_travels_with_the_next_message(ends, patient):
    ours, theirs = ends
    link = connection(ours)
    link.ack(7)
    link.publish("up", b"question", False, 0)
    link.flush()
    assert (await read(theirs)).startswith(puback(7))
    assert not link._sock.unsent


async def test_an_acknowledgement_does_not_wait_for_ever(ends):
    ours, theirs = ends
    connection(ours).ack(7)
    assert await read(theirs) == puback(7)


async def test_a_window_is_never_left_full_of_acknowledgements_that_wait(ends, patient):
    ours, theirs = ends
    link = connection(ours, receive_maximum=32)
    for mid in range(1, 5):
        link.ack(mid)
    assert await read(theirs) == b"".join(map(puback, range(1, 5)))


async def test_what_a_question_needs_is_sent_before_the_loop_has_its_turn(ends):
    ours, theirs = ends
    link = connection(ours)
    link.publish("up", b"question", False, 0)
    link.flush()
    assert theirs.recv(4096).endswith(b"question")


async def test_what_a_broker_acknowledged_before_it_hung_up_is_read_though_a_write_fails_first(ends):
    ours, theirs = ends
    ears = Ears()
    link = connection(ours, ears)
    theirs.send(puback(7))
    theirs.close()
    link.publish("up", b"question", False, 0)
    link.flush()
    assert (ears.acknowledgements, link.lost.done()) == ([7], True)
