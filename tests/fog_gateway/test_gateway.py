"""A gateway with its settings, between a device and a broker in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.adapters.settings_file import settings_from
from cascade.adapters.transports.embedded_broker import EmbeddedBroker
from cascade.messages import Answer, Outcome
from cascade.metrics import PEER_FAULTS
from edge_agent import EdgeAgent
from edge_agent.settings import EdgeSettings
from fog_gateway.gateway import FogGateway
from fog_gateway.settings import FogSettings

SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
IDLE = {"kind": "command", "argv": ["sleep", "60"], "shape": [6], "dtype": "float32"}


class Site:
    """A broker, and the settings of who meets there."""

    def __init__(self, folder: Path, broker: EmbeddedBroker) -> None:
        self.folder, self.broker = folder, broker
        self.release = write_scripted_release(folder / "release")

    def gateway(self, **more: Any) -> FogGateway:
        document = {
            "gateway": {"name": "barn.gw1", "site": "barn", "state_dir": "gateway"},
            "below": {"host": "127.0.0.1", "port": self.broker.port},
            "tasks": [{"name": "task", "release": str(self.release)}],
            **more,
        }
        return FogGateway(settings_from(document, FogSettings, "fog.toml", self.folder))

    def device(self, **more: Any) -> EdgeAgent:
        document = {
            "device": {"name": "barn.cam1", "state_dir": "device"},
            "above": {"host": "127.0.0.1", "port": self.broker.port},
            "tasks": [{"name": "task", "release": str(self.release)}],
            "streams": [{"name": "cam", "task": "task", "durability": "memory", "encoding": "none", "sensor": IDLE}],
            **more,
        }
        return EdgeAgent(settings_from(document, EdgeSettings, "edge.toml", self.folder))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    broker = EmbeddedBroker()
    await broker.start()
    yield Site(tmp_path, broker)
    await broker.stop()


async def asked(
    gateway: FogGateway, device: EdgeAgent, *scores: tuple[float, ...], deadline_ms: float = 10_000
) -> Answer:
    await gateway.start()
    try:
        async with device, asyncio.timeout(20):
            while not device.loop.shell.hop.uplink.up:  # noqa: ASYNC110 - the hop has nobody to tell
                await asyncio.sleep(0.01)
            return await device.ask(scripted_sample(*scores), deadline_ms=deadline_ms, final=True)
    finally:
        await gateway.stop()


async def test_a_gateway_without_a_cloud_answers_what_it_can(site):
    answer = await asked(site.gateway(), site.device(), UNSURE, SURE, SURE)
    assert (answer.tier, answer.reason) == ("fog", "sure")


async def test_a_question_larger_than_the_gateways_limit_is_refused_and_counted(site):
    many = 400
    site.release = write_scripted_release(site.folder / "wide", labels=[f"l{number}" for number in range(many)])
    flat = (1.0 / many,) * many
    small = site.gateway(limits={"max_question_bytes": 4000})
    answer = await asked(small, site.device(), flat, flat, flat, deadline_ms=300)
    assert (answer.outcome, answer.tier, answer.reason) == (Outcome.ANSWERED, "edge", "deadline")
    faults = {reading.labels: reading.value for reading in small.tally.snapshot() if reading.row is PEER_FAULTS}
    assert faults == {("fog", "size"): 1}


async def test_a_larger_question_than_usual_travels_where_both_ends_say_so(site):
    many = 30_000
    site.release = write_scripted_release(site.folder / "wide", labels=[f"l{number}" for number in range(many)])
    flat, sure = (1.0 / many,) * many, (1.0, *([0.0] * (many - 1)))
    limits = {"max_question_bytes": 1_000_000}
    answer = await asked(site.gateway(limits=limits), site.device(limits=limits), flat, sure, flat)
    assert (answer.tier, answer.label) == ("fog", "l0")


async def test_how_soon_the_cloud_is_tried_again_is_the_settings_to_say(site: Site, monkeypatch) -> None:
    opened = []
    monkeypatch.setattr("fog_gateway.gateway.GrpcAbove", opened.append)
    above = {"host": "127.0.0.1", "insecure_ok": True}
    site.gateway(above={**above, "retry_first_s": 0.2, "retry_most_s": 1.0})
    site.gateway(above=above)
    assert [(each.retry_first_s, each.retry_most_s) for each in opened] == [(0.2, 1.0), (0.5, 20.0)]
