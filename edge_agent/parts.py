"""What an edge agent is made of, each part made from the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from cascade import __version__
from cascade.adapters.journal_writer import JournalWriter
from cascade.adapters.node_state import dice_seed
from cascade.adapters.prometheus import Exporter
from cascade.adapters.settings_tables import MOST_KEEP_S
from cascade.adapters.transports.mqtt import MqttAbove
from cascade.adapters.transports.transport import Above
from cascade.inference.events import Durability, Event
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings
from cascade.metrics import JOURNAL_LOST, JOURNAL_UP, SPOOL_AGE, SPOOL_BYTES, SPOOL_QUESTIONS
from cascade.tally import Tally
from edge_agent.settings import EdgeSettings
from edge_agent.spool import Spool

SpoolMaker = Callable[[Callable[[Event], None]], Spool]


def hop_settings(settings: EdgeSettings, folder: Path) -> HopSettings:
    return HopSettings(
        node=settings.device.name,
        tier="edge",
        max_open=settings.limits.max_open,
        max_keep_ms=MOST_KEEP_S * 1000.0,
        audit_share=settings.audit.share,
        seed=dice_seed(folder, settings.audit.seed_file),
    )


def uplink_settings(settings: EdgeSettings, above: Above | None) -> UplinkSettings | None:
    """None where nobody is above. A link that stands in for the one of the settings is treated as usual."""
    if above is None:
        return None
    return settings.above.uplink_settings() if settings.above is not None else UplinkSettings()


def mqtt_above(settings: EdgeSettings) -> MqttAbove | None:
    above, limits, name = settings.above, settings.limits, settings.device.name
    if above is None:
        return None
    link = above.mqtt_settings(name, limits.max_question_bytes)
    return MqttAbove(link, name, runtime=__version__, limits=limits.wire_limits())


def spool_maker(settings: EdgeSettings, folder: Path, tally: Tally) -> SpoolMaker | None:
    """None where no stream leans on a spool."""
    table = settings.spool
    if all(stream.durability is Durability.MEMORY for stream in settings.streams):
        return None

    def make(post: Callable[[Event], None]) -> Spool:
        spool = Spool(
            folder / "spool.db",
            post,
            max_bytes=table.max_bytes,
            max_age_s=table.max_age_s,
            commit_every=table.commit_every,
            commit_within_s=table.commit_within_s,
        )
        tally.gauge(SPOOL_QUESTIONS, (), lambda: spool.readings.depth)
        tally.gauge(SPOOL_BYTES, (), lambda: spool.readings.bytes)
        tally.gauge(SPOOL_AGE, (), lambda: spool.readings.oldest_age_s)
        return spool

    return make


def new_journal(
    settings: EdgeSettings, hop: HopSettings, uplink: UplinkSettings | None, tally: Tally
) -> JournalWriter | None:
    table = settings.journal
    if table is None:
        return None
    rebuild = {"hop": msgspec.to_builtins(hop), "uplink": msgspec.to_builtins(uplink)}
    journal = JournalWriter(
        table.path, node=hop.node, tier="edge", seed=hop.seed, rebuild=rebuild, max_bytes=table.max_bytes
    )
    tally.gauge(JOURNAL_LOST, (), lambda: journal.lost)
    tally.gauge(JOURNAL_UP, (), lambda: journal.up)
    return journal


def new_exporter(settings: EdgeSettings, tally: Tally, idle_s: Callable[[], float]) -> Exporter | None:
    table = settings.metrics
    if not table.port:
        return None
    return Exporter([tally.snapshot], idle_s, host=table.bind, port=table.port)
