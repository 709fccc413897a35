"""What is compared: each tier alone, all of them as the release has them, and single models that might do as well.

A tier alone means that those below pass on what they are asked, and run no model: "cloud only" pays for the way up,
with inputs compressed as the cascade compresses them, and not for models that it has no use for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cascade.adapters.bundle_folder import LoadedRelease
from cascade.release.bundle import TIERS, Tier
from cascade.release.ladder import Ladder

ALONE: Mapping[Tier, str] = {"edge": "device only", "fog": "fog only", "cloud": "cloud only"}
CASCADE = "cascade"


class System(NamedTuple):
    """Who has models here, and who stands at the top."""

    name: str
    releases: Mapping[Tier, LoadedRelease]
    """Of the tiers that run a model."""
    topmost: Tier

    @property
    def ladders(self) -> dict[str, tuple[Ladder, ...]]:
        return {tier: (release.ladder,) for tier, release in self.releases.items()}

    @property
    def any_release(self) -> LoadedRelease:
        return next(iter(self.releases.values()))


def systems_of(releases: Mapping[Tier, LoadedRelease]) -> list[System]:
    """Tier by tier from the device up, then the cascade. A release of one tier is no cascade."""
    there: list[Tier] = [tier for tier in ALONE if tier in releases]
    alone = [System(ALONE[tier], {tier: releases[tier]}, tier) for tier in there]
    return alone if len(there) == 1 else [*alone, System(CASCADE, dict(releases), there[-1])]


def rival(name: str, release: LoadedRelease) -> System:
    """Another release's models on the device, with nobody above."""
    return System(f"{name} on the device", {"edge": release}, "edge")


def links_of(system: System) -> tuple[Tier, ...]:
    """The tiers that send something up."""
    return tuple(tier for tier in ALONE if TIERS.index(tier) < TIERS.index(system.topmost))
