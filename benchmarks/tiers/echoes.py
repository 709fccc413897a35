"""The other side of a bare link: says back what it is told.

python -m benchmarks.tiers.echoes broker BROKER_PORT
python -m benchmarks.tiers.echoes grpc PORT
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import paho.mqtt.client as paho
from grpc import aio
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.against_handwritten.handwritten import no_delay

SERVICE, UNARY, STREAM = "Echo", "Once", "Always"
ASK, ANSWER = "echo/ask", "echo/answer"
SUBSCRIBED = "subscribed"


def client(name: str) -> paho.Client:
    made = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
    made.max_inflight_messages_set(1000)
    made.on_socket_open = no_delay
    return made


def over_broker(port: int) -> None:
    echo = client("echo")
    echo.on_message = lambda client, _, message: _ignored(client.publish(ANSWER, message.payload, qos=1))
    echo.on_subscribe = lambda *_: print(SUBSCRIBED, flush=True)
    echo.connect("127.0.0.1", port)
    echo.subscribe(ASK, qos=1)
    echo.loop_forever()


def _ignored(_: object) -> None:
    """What a callback gives back."""


async def over_grpc(port: int) -> None:
    async def once(data: bytes, context: Any) -> bytes:
        return data

    async def always(asked: AsyncIterator[bytes], context: Any) -> None:
        """By `read` and `write`: cheaper than iterating."""
        while isinstance(data := await context.read(), bytes):
            await context.write(data)

    handlers = {
        UNARY: grpc.unary_unary_rpc_method_handler(once),
        STREAM: grpc.stream_stream_rpc_method_handler(always),
    }
    server = aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1] == "broker":
        over_broker(int(sys.argv[2]))
    else:
        asyncio.run(over_grpc(int(sys.argv[2])))
