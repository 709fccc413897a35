"""Where the cloud can't listen, it says why."""

from __future__ import annotations

import socket

import pytest

from cascade.adapters.transports.grpc import GrpcBelow, GrpcBelowSettings
from cascade.errors import LinkError


async def test_a_port_that_is_taken_is_told_as_the_kernel_tells_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        below = GrpcBelow(GrpcBelowSettings(port=taken.getsockname()[1], insecure_ok=True))
        with pytest.raises(LinkError, match=r"can.t listen on 127\.0\.0\.1:\d+: Address already in use"):
            await below.open(lambda event: None)
