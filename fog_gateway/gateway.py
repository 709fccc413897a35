"""A fog gateway: between the devices of one site and the cloud."""

from __future__ import annotations

import asyncio
import logging

from cascade.adapters.answering_loop import AnsweringLoop
from cascade.adapters.installing import install_tasks, stage_runner
from cascade.adapters.node_state import dice_seed, state_folder
from cascade.adapters.prometheus import Exporter
from cascade.adapters.transports.grpc import GrpcAbove, GrpcAboveSettings
from cascade.adapters.transports.mqtt import MqttBelow
from cascade.adapters.transports.transport import Above
from cascade.inference.effects import Effect
from cascade.inference.events import Event, LinkUp
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.metrics import DEVICES_ONLINE
from cascade.tally import Tally
from fog_gateway.device_metrics import DeviceMetrics, DeviceMetricsSettings
from fog_gateway.presence import Presences
from fog_gateway.settings import FogSettings
from fog_gateway.state import new_state

log = logging.getLogger(__name__)


class FogGateway:
    """Reads the devices' shared questions, answers what its models can, asks the cloud about the rest."""

    def __init__(self, settings: FogSettings, *, where: str = "settings", above: Above | None = None) -> None:
        """`above` stands in for the link to the cloud that the settings name."""
        self.settings = settings
        self.name = settings.gateway.name
        folder = state_folder(settings.gateway.state_dir)
        self.tally = Tally("fog")
        self._runner = stage_runner(folder, settings.engine)
        self._above = above if above is not None else self._cloud()
        self._releases = install_tasks(self._runner, settings.tasks, "fog", where, passes_on=self._above is not None)
        self.presences = Presences(settings.devices.max_devices)
        self.tally.gauge(DEVICES_ONLINE, (), self.presences.online)
        self.device_metrics = DeviceMetrics(
            DeviceMetricsSettings(settings.devices.max_devices, settings.devices.max_series_per_device)
        )
        self._below = MqttBelow(
            settings.below.mqtt_settings(self.name, settings.limits.max_question_bytes),
            settings.gateway.site,
            settings.below.group,
            on_presence=self.presences.note,
            on_metrics=self.device_metrics.take,
            on_link=self._broker,
            limits=settings.limits.wire_limits(),
        )
        self._state = new_state(settings.state.kind, settings.limits.answers_kept_s)
        hop = HopSettings(
            node=self.name,
            tier="fog",
            max_open=settings.limits.max_open,
            max_keep_ms=settings.limits.max_keep_s * 1000.0,
            remembers=not self._state.at_once,
            audit_share=settings.audit.share,
            seed=dice_seed(folder, settings.audit.seed_file),
        )
        self.loop = AnsweringLoop(
            Hop(hop, self._uplink()),
            self._runner,
            self._below,
            self._state,
            above=self._above,
            observers=(self.tally, self),
            model_thread=settings.model.thread,
        )
        self._exporter = self._new_exporter()

    async def start(self) -> None:
        if self._exporter is not None:
            self._exporter.open()
        await self._state.open()
        await self.loop.open([release.ladder for release in self._releases])
        self._state.watch_desk(self.name, self._below.set_desk)

    async def stop(self) -> None:
        await self.loop.close()
        await self._state.close()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)
        self._runner.close()

    def observe(self, event: Event, effects: list[Effect], now: float) -> None:
        """The link itself says why it was lost; that it is there again, only its event does."""
        if type(event) is LinkUp:
            log.info("the cloud is there")

    def _uplink(self) -> UplinkSettings | None:
        if self._above is None:
            return None
        above = self.settings.above
        return above.uplink_settings() if above is not None else UplinkSettings()

    def _cloud(self) -> GrpcAbove | None:
        above = self.settings.above
        if above is None:
            return None
        return GrpcAbove(
            GrpcAboveSettings(
                host=above.host,
                port=above.port,
                node=self.name,
                ca_file=above.ca_file,
                cert_file=above.cert_file,
                key_file=above.key_file,
                server_name=above.server_name,
                heartbeat_s=above.heartbeat_s,
                dead_after_s=above.dead_after_s,
                retry_first_s=above.retry_first_s,
                retry_most_s=above.retry_most_s,
                max_queued=max(4096, above.asking.in_flight),
                insecure_ok=above.insecure_ok,
                max_question_bytes=self.settings.limits.max_question_bytes,
            )
        )

    def _new_exporter(self) -> Exporter | None:
        table = self.settings.metrics
        if not table.port:
            return None
        sources = [self.tally.snapshot, self.device_metrics.readings]
        return Exporter(sources, self.loop.shell.idle_s, host=table.bind, port=table.port)

    def _broker(self, up: bool, why: str) -> None:
        if up:
            log.info("the broker is there, questions of site %s are read", self.settings.gateway.site)
        else:
            log.warning("no link to the broker: %s", why)
