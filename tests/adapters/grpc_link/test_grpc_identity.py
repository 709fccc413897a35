"""Who is let in, and for whom one speaks."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from cascade.adapters.transports.grpc_above import ASK_METHOD
from cascade.errors import LinkError, SettingsError
from cascade.inference.events import Answered, Asked, LinkLost, LinkUp, PeerFaulted
from cascade.messages import Outcome, Question
from cascade.wire.codec import encode_up

Until = Callable[..., Awaitable[None]]
AskedBy = Callable[..., list[Question]]


async def test_a_gateway_with_its_certificate_is_let_in(ends: Any, authority: Any, asked_by: AskedBy) -> None:
    below, heard = await ends.below(**authority.issue("cloud"))
    above, ear = await ends.above(below.port, **authority.issue("barn.gw1"))
    await ear.wait_for(LinkUp)
    above.ask(asked_by("barn.cam1"))
    await heard.wait_for(Asked)
    assert below.connected == {"barn.gw1"}


async def test_a_gateway_under_another_s_name_is_sent_away(ends: Any, authority: Any) -> None:
    below, heard = await ends.below(**authority.issue("cloud"))
    above, ear = await ends.above(below.port, node="yard.gw1", **authority.issue("barn.gw1"))
    (fault, *_) = await heard.wait_for(PeerFaulted)
    assert (fault.peer, fault.kind) == ("unknown", "identity")
    await heard.wait_for(PeerFaulted, 2)
    assert "UNAUTHENTICATED" in above.trouble
    assert not ear.all(LinkUp)


async def test_a_certificate_of_another_authority_is_worth_nothing(
    ends: Any, authority: Any, another_authority: Any, until: Until
) -> None:
    below, heard = await ends.below(**authority.issue("cloud"))
    foreign = another_authority.issue("barn.gw1") | {"ca_file": authority.ca_file}
    above, ear = await ends.above(below.port, **foreign)
    await until(lambda: above.trouble not in ("", "not opened"))
    assert "UNAVAILABLE" in above.trouble
    assert not ear.all(LinkUp)
    assert not heard.events


async def test_a_gateway_without_a_certificate_is_not_heard(ends: Any, authority: Any, until: Until) -> None:
    below, heard = await ends.below(**authority.issue("cloud"))
    above, _ = await ends.above(below.port, ca_file=authority.ca_file)
    await until(lambda: above.trouble not in ("", "not opened"))
    assert not heard.events


async def test_a_gateway_does_not_ask_a_false_cloud(
    ends: Any, authority: Any, another_authority: Any, until: Until
) -> None:
    below, heard = await ends.below(**another_authority.issue("cloud"), require_client_cert=False)
    above, _ = await ends.above(below.port, **authority.issue("barn.gw1"))
    await until(lambda: above.trouble not in ("", "not opened"))
    assert not heard.events


async def test_a_new_certificate_is_used_without_a_restart(ends: Any, authority: Any, another_authority: Any) -> None:
    files = authority.issue("cloud")
    below, _ = await ends.below(**files)
    renewed = another_authority.issue("cloud")
    for name, path in files.items():
        shutil.copy(renewed[name], path)
    _, ear = await ends.above(below.port, **another_authority.issue("barn.gw1"))
    await ear.wait_for(LinkUp)


async def test_a_broken_certificate_file_leaves_the_one_in_use(ends: Any, authority: Any) -> None:
    files = authority.issue("cloud")
    below, _ = await ends.below(**files)
    files["cert_file"].write_text("half of it")
    _, ear = await ends.above(below.port, **authority.issue("barn.gw1"))
    await ear.wait_for(LinkUp)


async def test_a_question_of_another_site_is_refused_and_the_others_are_not(ends: Any, asked_by: AskedBy) -> None:
    below, heard = await ends.below()
    above, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)
    above.ask([*asked_by("yard.cam1"), *asked_by("barn.cam1", first=1)])
    (told,) = await ear.wait_for(Answered)
    assert (told.answer.device, told.answer.outcome, told.answer.reason) == (
        "yard.cam1", Outcome.REFUSED, "wrong_identity",
    )  # fmt: skip
    assert [event.question.id for event in heard.all(Asked)] == ["q1"]
    assert [(event.peer, event.kind) for event in heard.all(PeerFaulted)] == [("barn.gw1", "identity")]


async def test_a_revoked_gateway_s_live_stream_is_ended(ends: Any) -> None:
    below, _ = await ends.below()
    _, ear = await ends.above(below.port, retry_first_s=60.0, retry_most_s=60.0)
    _, other = await ends.above(below.port, node="barn.gw2")
    await ear.wait_for(LinkUp)
    await other.wait_for(LinkUp)
    below.disconnect("barn.gw1")
    await ear.wait_for(LinkLost)
    assert below.connected == {"barn.gw2"}
    assert not other.all(LinkLost)


@pytest.mark.parametrize(
    "greeting", [b"\xff\xff", encode_up(), encode_up(hello="nobody"), encode_up(hello="a/b.c"), encode_up(ping=1)]
)
async def test_who_does_not_say_who_it_is_is_sent_away(ends: Any, greeting: bytes) -> None:
    below, heard = await ends.below()
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.write(greeting)
        with pytest.raises(aio.AioRpcError):
            await call.read()
    assert len(heard.all(PeerFaulted)) == 1
    assert not below.connected


async def test_who_says_nothing_is_sent_away(ends: Any) -> None:
    below, heard = await ends.below(greet_within_s=0.1)
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.wait_for_connection()
        await heard.wait_for(PeerFaulted)
        call.cancel()


async def test_old_streams_of_one_gateway_make_room_for_new_ones(ends: Any) -> None:
    below, _ = await ends.below()
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        calls = []
        for _ in range(5):
            calls.append(channel.stream_stream(ASK_METHOD)())
            await calls[-1].write(encode_up(hello="barn.gw1"))
            await calls[-1].read()
        with pytest.raises(aio.AioRpcError, match="newer"):
            await calls[0].read()
        for call in calls:
            call.cancel()


@pytest.mark.parametrize("host", ["192.0.2.1", "cloud.example"])
async def test_without_tls_only_this_machine_is_asked(ends: Any, host: str) -> None:
    with pytest.raises(SettingsError, match="insecure_ok"):
        await ends.above(1, host=host)


async def test_without_tls_only_this_machine_is_served(ends: Any) -> None:
    with pytest.raises(SettingsError, match="insecure_ok"):
        await ends.below(bind="0.0.0.0")


async def test_settings_that_cannot_work_are_told_at_once(ends: Any, authority: Any, tmp_path: Path) -> None:
    files = authority.issue("barn.gw1")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for different in (
        {"node": "nobody"},
        {"heartbeat_s": 3.0},
        {"cert_file": files["cert_file"]},
        {"ca_file": files["ca_file"], "cert_file": files["cert_file"]},
        {"ca_file": tmp_path / "nowhere.pem"},
        {"ca_file": empty},
    ):
        with pytest.raises(SettingsError):
            await ends.above(1, **different)


async def test_half_of_a_server_s_certificate_is_told_at_once(ends: Any, authority: Any) -> None:
    files = authority.issue("cloud")
    for left in ("ca_file", "cert_file", "key_file"):
        with pytest.raises(SettingsError):
            await ends.below(**{left: files[left]})


async def test_a_port_that_is_taken_is_a_link_error(ends: Any) -> None:
    below, _ = await ends.below()
    with pytest.raises(LinkError):
        await ends.below(port=below.port)
