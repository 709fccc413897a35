"""The hop that a journal is of, built again as its shell had built it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cascade.adapters.journal import Header
from cascade.errors import StorageError
from cascade.inference.hop import Hop
from cascade.inference.replying import HopSettings
from cascade.inference.uplink import UplinkSettings


def rebuilt(header: Header, path: Path) -> Hop:
    """`StorageError` where the header does not say how."""
    try:
        settings = msgspec.convert(header.rebuild["hop"], HopSettings)
        uplink = msgspec.convert(header.rebuild["uplink"], UplinkSettings | None)
    except (KeyError, msgspec.ValidationError) as error:
        raise StorageError(f"{path}: its header does not say how to build the hop again: {error}") from None
    return Hop(settings, uplink)
