"""Plain grpc.aio: a unary call with the raw floats in it, the model in line, nothing else.

python grpc_server.py PORT
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
from grpc import aio
from model import image_of, new_session  # beside this file


async def main(port: int) -> None:
    session = new_session()

    async def predict(raw: bytes, context: Any) -> bytes:
        scores: Any = session.run(None, {"image": image_of(raw)})[0]
        return bytes(scores.tobytes())

    server = aio.server()
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Plain", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
