"""What the gRPC link does when a side is slow, frozen, full, going away, or sends rubbish."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import msgspec
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cascade.adapters.transports.grpc import GrpcAbove, GrpcAboveSettings
from cascade.adapters.transports.grpc_above import ASK_METHOD
from cascade.adapters.transports.grpc_below import SERVICE
from cascade.inference.events import Answered, Asked, LinkLost, LinkUp, PeerFaulted, Sent
from cascade.messages import Answer, Outcome, Question
from cascade.wire.codec import decode_down, encode_down, encode_questions, encode_up

Until = Callable[..., Awaitable[None]]
AskedBy = Callable[..., list[Question]]
AnswerTo = Callable[[Question], Answer]

SERVER = """
import asyncio
from cascade.adapters.transports.grpc import GrpcBelow, GrpcBelowSettings

async def main():
    below = GrpcBelow(GrpcBelowSettings(port=0, health=False))
    await below.open(lambda event: None)
    print(below.port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.needs_services
async def test_a_frozen_server_is_noticed_within_dead_after_s(ends: Any) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        _, ear = await ends.above(port, heartbeat_s=0.3, dead_after_s=1.0)
        await ear.wait_for(LinkUp)
        loop = asyncio.get_running_loop()
        os.kill(process.pid, signal.SIGSTOP)
        began = loop.time()
        await ear.wait_for(LinkLost)
        assert loop.time() - began < 1.5
        os.kill(process.pid, signal.SIGCONT)
        await ear.wait_for(LinkUp, 2)
    finally:
        process.kill()
        await process.wait()


async def test_a_server_that_was_not_there_yet_is_found(ends: Any) -> None:
    below, _ = await ends.below()
    port = below.port
    await below.close()
    _, ear = await ends.above(port)
    await asyncio.sleep(0)
    await ends.below(port=port)
    await ear.wait_for(LinkUp)
    assert not ear.all(LinkLost)


async def test_nothing_is_said_of_a_link_that_never_was(ends: Any, until: Until) -> None:
    below, _ = await ends.below()
    await below.close()
    above, ear = await ends.above(below.port)
    await until(lambda: "UNAVAILABLE" in above.trouble)
    assert not ear.events


async def test_a_server_that_welcomes_nobody_is_no_link(ends: Any, until: Until) -> None:
    server = aio.server()
    await _serve(server, lambda _, context: context.read())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _, ear = await ends.above(port)
    await until(lambda: bool(ear.all(Sent)))
    assert not ear.all(LinkUp)
    await server.stop(None)


async def test_rubbish_from_above_is_told_and_ends_the_stream(ends: Any) -> None:
    async def rubbish(_: Any, context: Any) -> None:
        await context.read()
        await context.write(encode_down(welcome="cloud"))
        for _ in range(3):
            await context.write(b"\xff rubbish")
        await asyncio.Event().wait()

    server = aio.server()
    await _serve(server, rubbish)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    above, ear = await ends.above(port)
    await ear.wait_for(LinkLost)
    assert [event.kind for event in ear.all(PeerFaulted)[:3]] == ["unparseable"] * 3
    await above.close()
    await server.stop(None)


async def test_over_its_bound_the_queue_is_dropped_and_the_hop_is_told(ends: Any, asked_by: AskedBy) -> None:
    below, heard = await ends.below()
    above, ear = await ends.above(below.port, max_queued=10)
    await ear.wait_for(LinkUp)
    above.ask(asked_by("barn.cam1", 11))
    assert [event.reason for event in ear.all(LinkLost)] == ["queue_full"]
    await ear.wait_for(LinkUp, 2)
    above.ask(asked_by("barn.cam1", 10, first=100))
    await heard.wait_for(Asked, 10)
    assert {event.question.id for event in heard.all(Asked)} == {f"q{number}" for number in range(100, 110)}


async def test_a_gateway_that_does_not_read_loses_its_stream_and_nobody_else_waits(
    ends: Any, asked_by: AskedBy, answer_to: AnswerTo, until: Until
) -> None:
    below, heard = await ends.below(max_queued=1000)
    (question,) = asked_by("barn.cam1")
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.write(encode_up([question], hello="barn.lazy"))
        (asked,) = await heard.wait_for(Asked)
        below.reply(asked.back, [answer_to(question)] * 1001)
        await until(lambda: not below.connected)
        call.cancel()
    _, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)


async def test_a_gateway_that_falls_silent_is_forgotten(ends: Any) -> None:
    below, heard = await ends.below(silent_after_s=0.1)
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.write(encode_up(hello="barn.gw1"))
        await call.read()
        with pytest.raises(aio.AioRpcError, match="silent"):
            await call.read()
    assert heard.events
    assert not below.connected


async def test_rubbish_from_below_is_told_and_its_stream_ended(ends: Any) -> None:
    below, heard = await ends.below()
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.write(encode_up(hello="barn.gw1"))
        await call.read()
        for _ in range(3):
            await call.write(b"\xff rubbish")
        with pytest.raises(aio.AioRpcError, match="can't be read"):
            await call.read()
    assert [(event.peer, event.kind) for event in heard.all(PeerFaulted)] == [("barn.gw1", "unparseable")] * 3


async def test_a_message_over_the_limit_ends_only_its_own_stream(ends: Any) -> None:
    below, _ = await ends.below()
    _, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.write(encode_up(hello="barn.gw2"))
        await call.read()
        await call.write(bytes(5 * 2**20))
        with pytest.raises(aio.AioRpcError):
            await call.read()
    assert below.connected == {"barn.gw1"}
    assert not ear.all(LinkLost)


async def test_a_bad_question_is_refused_and_its_neighbours_are_asked(ends: Any, asked_by: AskedBy) -> None:
    below, heard = await ends.below()
    bad, good = asked_by("barn.cam1", 2)
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = channel.stream_stream(ASK_METHOD)()
        await call.write(encode_up(hello="barn.gw1"))
        await call.read()
        await call.write(encode_questions([_with_priority(bad, 99), good]))
        (told,) = decode_down(await call.read()).answers
        call.cancel()
    assert (told.key, told.outcome, told.reason) == (bad.key, Outcome.REFUSED, "malformed")
    assert [event.question for event in heard.all(Asked)] == [good]


async def test_draining_takes_nothing_new_and_answers_what_was_taken(
    ends: Any, asked_by: AskedBy, answer_to: AnswerTo
) -> None:
    below, heard = await ends.below()
    above, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)
    above.ask(asked_by("barn.cam1"))
    (asked,) = await heard.wait_for(Asked)
    draining = asyncio.create_task(below.drain(10.0))
    await asyncio.sleep(0)
    above.ask(asked_by("barn.cam1", first=1))
    (refused,) = await ear.wait_for(Answered)
    assert (refused.answer.id, refused.answer.reason, refused.answer.retry_ms) == ("q1", "draining", 1000.0)
    assert not draining.done()
    below.reply(asked.back, [answer_to(asked.question)])
    await draining
    await below.close()
    assert [event.answer.id for event in ear.all(Answered)] == ["q1", "q0"]


async def test_draining_ends_when_its_time_is_up(ends: Any, asked_by: AskedBy) -> None:
    below, heard = await ends.below()
    above, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)
    above.ask(asked_by("barn.cam1"))
    await heard.wait_for(Asked)
    async with asyncio.timeout(5.0):
        await below.drain(0.1)


async def test_draining_lets_nobody_in(ends: Any, until: Until) -> None:
    below, _ = await ends.below()
    await below.drain(1.0)
    above, ear = await ends.above(below.port)
    await until(lambda: "going away" in above.trouble)
    assert not ear.all(LinkUp)


async def test_closing_sends_the_answers_that_wait(ends: Any, asked_by: AskedBy, answer_to: AnswerTo) -> None:
    below, heard = await ends.below()
    above, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)
    above.ask(asked_by("barn.cam1", 500))
    await heard.wait_for(Asked, 500)
    for asked in heard.all(Asked):
        below.reply(asked.back, [answer_to(asked.question)])
    began = asyncio.get_running_loop().time()
    await below.close()
    assert asyncio.get_running_loop().time() - began < 0.8
    await ear.wait_for(Answered, 500)


async def test_health_says_serving_and_then_not(ends: Any) -> None:
    below, _ = await ends.below(health=True, reflection=True)
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "cascade.wire.v1.Cascade"):
            told = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert told.status == health_pb2.HealthCheckResponse.SERVING
        await below.drain(1.0)
        told = await stub.Check(health_pb2.HealthCheckRequest(service="cascade.wire.v1.Cascade"))
        assert told.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_lists_the_service(ends: Any) -> None:
    below, _ = await ends.below(reflection=True)
    async with aio.insecure_channel(f"127.0.0.1:{below.port}") as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="cascade.wire.v1.Cascade"))
        told = await call.read()
        await call.done_writing()
    assert b"ClassScores" in told.file_descriptor_response.file_descriptor_proto[0]


async def test_tries_are_spread_by_chance(ends: Any, until: Until) -> None:
    drawn: list[float] = []

    def chance() -> float:
        drawn.append(0.0)
        return 0.0

    below, _ = await ends.below()
    await below.close()
    above = GrpcAbove(GrpcAboveSettings("127.0.0.1", below.port, "barn.gw1"), chance)
    ends.made.append(above)
    await above.open(lambda event: None)
    await until(lambda: len(drawn) >= 3)


async def test_a_loop_that_was_held_up_does_not_blame_the_link(ends: Any, until: Until) -> None:
    below, _ = await ends.below()
    _, ear = await ends.above(below.port)
    await ear.wait_for(LinkUp)
    time.sleep(1.0)  # noqa: ASYNC251 (the very thing that is tested: a loop that doesn't turn)
    heard = len(ear.events)
    await until(lambda: len(ear.events) >= heard + 4)
    assert not ear.all(LinkLost)


async def _serve(server: Any, behaviour: Callable[[Any, Any], Any]) -> None:
    async def ask(requests: Any, context: Any) -> None:
        with suppress(asyncio.CancelledError):
            await behaviour(requests, context)

    handler = grpc.stream_stream_rpc_method_handler(ask)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Ask": handler}),))


def _with_priority(question: Question, priority: int) -> Question:
    return msgspec.structs.replace(question, priority=priority)
