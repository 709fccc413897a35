"""Where the cloud can't listen, it says why."""

from __future__ import annotations

import socket

import pytest

from cascade.adapters.transports.grpc import GrpcBelow, GrpcBelowSettings
from cascade.errors import LinkError


async def test_a_port_that_is_taken_is_told_with_its_setting_and_what_to_do(capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        below = GrpcBelow(GrpcBelowSettings(port=taken.getsockname()[1], insecure_ok=True))
        told = r"below\.port: another program listens on 127\.0\.0\.1:\d+: stop it, or write another port"
        with pytest.raises(LinkError, match=told):
            await below.open(lambda event: None)
    assert capfd.readouterr().err == ""


async def test_an_address_of_another_machine_is_told_as_the_kernel_tells_it():
    below = GrpcBelow(GrpcBelowSettings(bind="192.0.2.1", port=0, insecure_ok=True))
    with pytest.raises(LinkError, match=r"below: can't listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        await below.open(lambda event: None)
