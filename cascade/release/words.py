"""What manifests are written in: the parts that know no other part."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

TIERS = ("edge", "fog", "cloud")

Tier: TypeAlias = Literal["edge", "fog", "cloud"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Described(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a manifest."""
