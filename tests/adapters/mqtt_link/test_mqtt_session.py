"""Staying connected: what a broker can do to a client, and what the client makes of it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.transports import mqtt_packets as packets
from cascade.adapters.transports.broker_rights import User, gateway_of
from cascade.errors import SettingsError
from cascade.inference.events import Asked, LinkLost, LinkUp, PeerFaulted

DEVICE = "barn.cam1"
WELCOME = packets.connack(packets.SUCCESS)


@asynccontextmanager
async def server(say: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[int]:
    """Something at a port that is not a broker."""
    serving: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await say(reader, writer)
        except (asyncio.CancelledError, OSError):
            return
        finally:
            writer.close()

    made = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield made.sockets[0].getsockname()[1]
    made.close()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def after_connect(*say: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        for data in say:
            writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    return serve


async def lost_at(port: int, new_place: Any, ear: Any, **settings: Any) -> str:
    """Why a device has no link to what is at the port."""
    await new_place(port).above(DEVICE, **settings).open(ear)
    return (await ear.wait_for(LinkLost))[0].reason  # type: ignore[no-any-return]


async def test_a_server_that_says_nothing_is_given_up(new_place: Any, ear: Any) -> None:
    async with server(silent) as port:
        assert "no sign of life" in await lost_at(port, new_place, ear, connect_timeout_s=0.3)


async def test_a_server_that_never_subscribes_us_is_given_up(new_place: Any, ear: Any) -> None:
    async with server(after_connect(WELCOME)) as port:
        assert "no sign of life" in await lost_at(port, new_place, ear, connect_timeout_s=0.3)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\xff\xff\xff\xff\xff",
        WELCOME + b"\x30\x03\x00\xff\x61",
        WELCOME + b"\xf0\x02\x18\x00",
        WELCOME + b"\x90\x01\x00",
    ],
)
async def test_rubbish_ends_the_connection_and_nothing_else(new_place: Any, ear: Any, rubbish: bytes) -> None:
    async with server(after_connect(rubbish)) as port:
        assert await lost_at(port, new_place, ear, connect_timeout_s=0.3)


async def test_a_giant_packet_is_not_taken(new_place: Any, ear: Any) -> None:
    giant = bytes([packets.PUBLISH]) + packets.varint(200_000_000) + bytes(1000)
    async with server(after_connect(WELCOME, giant)) as port:
        assert "a packet of 200000000 bytes" in await lost_at(port, new_place, ear)


async def test_a_name_that_is_not_known_is_said_plainly(place: Any, ear: Any) -> None:
    await place.above(DEVICE, host="no-such-host.invalid").open(ear)
    assert "no-such-host.invalid" in (await ear.wait_for(LinkLost))[0].reason


async def test_a_black_hole_is_given_up_in_time(new_place: Any, ear: Any) -> None:
    """A listener whose queue is full: the kernel answers no more."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        reason = await lost_at(full.getsockname()[1], new_place, ear, connect_timeout_s=0.3)
        for one in crowd:
            one.close()
    assert "within 0.3 s" in reason or "no sign of life" in reason


async def test_a_wrong_password_is_said_plainly_and_read_again(
    new_place: Any, new_broker: Any, ear: Any, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    broker = new_broker(users={DEVICE: User("right"), "gw1": gateway_of("barn", "gate")})
    await broker.start()
    (tmp_path / "gate").write_text("gate")
    place = new_place(broker.port)
    gateway = place.below("gw1", username="gw1", password_file=str(tmp_path / "gate"))
    await gateway.open(lambda event: None)
    await place.above(DEVICE, username=DEVICE, password_file=str(secret)).open(ear)
    assert (await ear.wait_for(LinkLost))[0].reason == "refused: bad user name or password (0x86)"
    secret.write_text("right\n")
    await ear.wait_for(LinkUp)
    await place.close()
    await broker.stop()


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "certificates can't be used"),
        ({"password_file": "/nowhere/password", "username": "x"}, "the password can't be read"),
        ({"password_file": "/nowhere/password"}, "username"),
        ({"cert_file": "/nowhere/cert.pem"}, "ca_file"),
        ({"probe_s": 1.0, "dead_after_s": 1.0}, "dead_after_s"),
    ],
)
async def test_settings_that_can_t_work_are_refused_at_once(
    place: Any, ear: Any, settings: dict[str, Any], mistake: str
) -> None:
    with pytest.raises(SettingsError, match=mistake):
        await place.above(DEVICE, **settings).open(ear)


async def test_two_clients_of_one_name_are_told_of_and_slow_down(
    place: Any, broker: Any, ear: Any, new_ear: Any
) -> None:
    await place.below().open(lambda event: None)
    other = new_ear()
    for listener in (ear, other):
        await place.above(DEVICE, reconnects_a_minute=3).open(listener)
    faults = await ear.wait_for(PeerFaulted, 2)
    assert {(fault.peer, fault.kind) for fault in faults} == {(DEVICE, "identity_taken")}
    await other.wait_for(PeerFaulted, 2)
    await asyncio.sleep(0.5)  # many times the delays, which are at most 0.1 s here
    assert broker.connects.count(DEVICE) <= 6


async def test_a_broker_that_hangs_up_again_and_again_without_a_word_may_have_met_our_twin(
    place: Any, broker: Any, ear: Any
) -> None:
    await place.below().open(lambda event: None)
    await place.above(DEVICE).open(ear)
    for ups in range(1, 4):
        await ear.wait_for(LinkUp, ups)
        broker.wire_of(DEVICE).abort()
    (fault,) = await ear.wait_for(PeerFaulted)
    assert fault.kind == "identity_taken"
    assert "3 times" in fault.detail


@pytest.mark.slow
async def test_a_loop_that_did_not_run_is_not_the_broker_s_fault(place: Any, ear: Any) -> None:
    await place.below().open(lambda event: None)
    await place.above(DEVICE).open(ear)
    await ear.wait_for(LinkUp)
    lost = len(ear.all(LinkLost))
    time.sleep(1.0)  # noqa: ASYNC251 - what loading a model in line does; dead_after_s is 0.6
    await asyncio.sleep(0.3)
    assert len(ear.all(LinkLost)) == lost


@pytest.mark.slow
async def test_a_link_at_rest_stays_up_by_probes_alone(place: Any, broker: Any, ear: Any) -> None:
    await place.below().open(lambda event: None)
    await place.above(DEVICE).open(ear)
    await ear.wait_for(LinkUp)
    lost, published = len(ear.all(LinkLost)), len(broker.published)
    await asyncio.sleep(1.5)  # dead_after_s is 0.6
    assert len(ear.all(LinkLost)) == lost
    assert len(broker.published) == published, "probes ask nobody but the broker"


async def test_a_broker_that_forgot_our_subscription_is_told_again(
    place: Any, broker: Any, ear: Any, words: Any
) -> None:
    gateway_ear = type(ear)()
    await place.below().open(gateway_ear)
    above = place.above(DEVICE)
    await above.open(ear)
    await ear.wait_for(LinkUp)
    broker._deliveries.forget(broker._sessions["gw1"])
    async with asyncio.timeout(5.0):
        while not gateway_ear.all(Asked):
            above.ask(words.questions())
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_reconnecting_leaks_no_sockets_and_no_watchers(place: Any, broker: Any, ear: Any) -> None:
    await place.below().open(lambda event: None)
    await place.above(DEVICE).open(ear)
    await ear.wait_for(LinkUp)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for ups in range(2, 30):
        broker.wire_of(DEVICE).abort()
        await ear.wait_for(LinkUp, ups)
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_a_fleet_that_loses_its_broker_is_back_soon(new_place: Any, broker: Any, new_ear: Any) -> None:
    place = new_place(broker.port)
    await place.below().open(lambda event: None)
    ears = [new_ear() for _ in range(60)]
    for number, ear in enumerate(ears):
        await place.above(f"barn.cam{number}", backoff_first_s=0.5, backoff_most_s=2.0).open(ear)
    await asyncio.gather(*(ear.wait_for(LinkUp) for ear in ears))
    ups = [len(ear.all(LinkUp)) for ear in ears]
    await broker.stop()
    await broker.start()
    await asyncio.gather(*(ear.wait_for(LinkUp, up + 1) for ear, up in zip(ears, ups, strict=True)))


class Tls:
    """A broker that speaks TLS and wants certificates, and the files of who may speak to it."""

    def __init__(self, authority: Any) -> None:
        self.ours = authority("ours")
        certificate, key = self.ours.issue("broker", ["127.0.0.1"])
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ours.file))
        self.context.load_cert_chain(certificate, key)
        self.context.verify_mode = ssl.CERT_REQUIRED

    def files(self, name: str, by: Any = None) -> dict[str, str]:
        certificate, key = (by or self.ours).issue(name)
        return {"ca_file": str(self.ours.file), "cert_file": str(certificate), "key_file": str(key)}


@pytest.fixture
def tls(authority: Any) -> Tls:
    return Tls(authority)


@pytest.fixture
async def locked(tls: Tls, new_broker: Any, new_place: Any) -> AsyncIterator[Any]:
    broker = new_broker(tls=tls.context)
    await broker.start()
    place = new_place(broker.port)
    yield place
    await place.close()
    await broker.stop()


async def test_questions_go_through_tls(locked: Any, tls: Tls, ear: Any, new_ear: Any, words: Any) -> None:
    """Large ones: TLS keeps what it has decrypted to itself, where no selector sees it."""
    gateway_ear = new_ear()
    await locked.below("gw1", **tls.files("gw1")).open(gateway_ear)
    above = locked.above(DEVICE, **tls.files(DEVICE))
    await above.open(ear)
    await ear.wait_for(LinkUp)
    above.ask(words.questions(40, size=100_000))
    await gateway_ear.wait_for(Asked, 40)


async def test_a_broker_that_is_not_believed_is_said_plainly(locked: Any, tls: Tls, authority: Any, ear: Any) -> None:
    files = {**tls.files(DEVICE), "ca_file": str(authority("theirs").file)}
    await locked.above(DEVICE, **files).open(ear)
    assert "the certificate of 127.0.0.1 is not believed" in (await ear.wait_for(LinkLost))[0].reason


async def test_a_broker_of_another_name_is_not_believed(new_broker: Any, new_place: Any, tls: Tls, ear: Any) -> None:
    certificate, key = tls.ours.issue("elsewhere", ["10.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    broker = new_broker(tls=context)
    await broker.start()
    await new_place(broker.port).above(DEVICE, **tls.files(DEVICE)).open(ear)
    assert "mismatch" in (await ear.wait_for(LinkLost))[0].reason.lower()
    await broker.stop()


async def test_a_certificate_of_ours_that_the_broker_does_not_take_is_said_plainly(
    locked: Any, tls: Tls, authority: Any, ear: Any
) -> None:
    await locked.above(DEVICE, **tls.files(DEVICE, by=authority("theirs"))).open(ear)
    assert "does it take our certificate?" in (await ear.wait_for(LinkLost))[0].reason


async def test_what_a_broker_says_of_our_certificate_is_passed_on(new_place: Any, authority: Any, ear: Any) -> None:
    expired = b"\x15\x03\x03\x00\x02\x02\x2d"
    async with server(after_connect(expired)) as port:
        reason = await lost_at(port, new_place, ear, ca_file=str(authority("ours").file))
    assert reason == f"no TLS with 127.0.0.1:{port}: the broker says: certificate expired"


async def test_a_broker_without_tls_is_said_plainly(place: Any, tls: Tls, ear: Any) -> None:
    await place.above(DEVICE, **tls.files(DEVICE)).open(ear)
    assert (await ear.wait_for(LinkLost))[0].reason
