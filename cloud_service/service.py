"""The cloud service: the top of the cascade, behind gRPC."""

from __future__ import annotations

import asyncio
import logging

from cascade.adapters.answering_loop import AnsweringLoop
from cascade.adapters.answers_kept import AnswersKept
from cascade.adapters.installing import install_tasks, stage_runner
from cascade.adapters.node_state import state_folder
from cascade.adapters.prometheus import Exporter
from cascade.adapters.transports.grpc import GrpcBelow, GrpcBelowSettings
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.tally import Tally
from cloud_service.settings import CloudSettings

log = logging.getLogger(__name__)


class CloudService:
    """Answers what no gateway could. Gateways speak for their own site only."""

    def __init__(self, settings: CloudSettings, *, where: str = "settings") -> None:
        self.settings = settings
        folder = state_folder(settings.service.state_dir)
        self.tally = Tally("cloud")
        self._runner = stage_runner(folder, settings.engine)
        self._releases = install_tasks(self._runner, settings.tasks, "cloud", where)
        self.below = self._new_below()
        hop = HopSettings(
            node=settings.service.name,
            tier="cloud",
            max_open=settings.limits.max_open,
            max_keep_ms=settings.limits.max_keep_s * 1000.0,
        )
        self.loop = AnsweringLoop(
            Hop(hop),
            self._runner,
            self.below,
            AnswersKept(settings.limits.answers_kept_s),
            observers=(self.tally,),
            model_thread=settings.model.thread,
        )
        self._exporter = self._new_exporter()

    async def start(self) -> None:
        if self._exporter is not None:
            self._exporter.open()
        await self.loop.open([release.ladder for release in self._releases])
        log.info("gateways are served on %s:%d", self.settings.below.bind, self.below.port)

    async def drain(self) -> None:
        """Take nothing new, and answer what was taken: gateways ask elsewhere meanwhile."""
        await self.below.drain(self.settings.below.drain_s)

    async def stop(self) -> None:
        await self.loop.close()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)
        self._runner.close()

    def _new_below(self) -> GrpcBelow:
        table = self.settings.below
        return GrpcBelow(
            GrpcBelowSettings(
                bind=table.bind,
                port=table.port,
                ca_file=table.ca_file,
                cert_file=table.cert_file,
                key_file=table.key_file,
                require_client_cert=table.require_client_cert,
                insecure_ok=table.insecure_ok,
                health=table.health,
                reflection=table.reflection,
                node=self.settings.service.name,
                limits=self.settings.limits.wire_limits(),
            )
        )

    def _new_exporter(self) -> Exporter | None:
        table = self.settings.metrics
        if not table.port:
            return None
        return Exporter([self.tally.snapshot], self.loop.shell.idle_s, host=table.bind, port=table.port)
