"""What a tier's daemon needs beside the runtime, and says where it is missing, before it can't be imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from cascade.errors import MissingDependency, how_to_install
from cascade.release.bundle import Tier

NEEDED: Mapping[Tier, Mapping[str, str]] = {"edge": {}, "fog": {"grpc": "grpcio"}, "cloud": {"grpc": "grpcio"}}
"""Module → package. The extras of these tiers, `fog` and `cloud`, bring them."""


def check_needs(tier: Tier) -> None:
    missing = sorted(package for module, package in NEEDED[tier].items() if find_spec(module) is None)
    if missing:
        raise MissingDependency(f"the {tier} tier needs {', '.join(missing)}: {how_to_install(tier)}")
