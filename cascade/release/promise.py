"""What the thresholds of a release promise, from how much data, and for exactly which ladder.

A promise is bound twice: to the digests of every bundle of the ladder, and to the gates that it was made for. Whoever
changes one of these has thresholds without a promise, and a release that still claims it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any

import msgspec

from cascade.release.words import Count, Described, Name, Sha256, Tier

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ModelAbove(Described, frozen=True):
    """A model of the ladder, as trails name it."""

    tier: Tier
    stage: Name
    model: str


class Seen(Described, frozen=True):
    """What the recordings showed of one target: the figure, and the bound below which it lies with the confidence."""

    target: str
    found: float
    bound: float | None = None
    p_value: float | None = None


class Promise(Described, frozen=True):
    """The guarantee of a release."""

    targets: tuple[str, ...]
    confidence: Share
    method: str
    assumes: str
    samples: Count
    """Recorded samples that it was tested on; those that thresholds were chosen on are not among them."""
    ladder: dict[Tier, Sha256]
    """The bundles, by the digests of their manifests."""
    models: tuple[ModelAbove, ...]
    """The same ladder as it shows in trails: by this a device sees that the hop above is another one now."""
    gates_digest: Sha256
    recordings: str = ""
    """Digest of the recordings file."""
    seen: tuple[Seen, ...] = ()
    answered: dict[Tier, Share] = msgspec.field(default_factory=dict)
    """Share that each tier answers, as recorded."""


def gates_digest(gates: Sequence[Any]) -> str:
    """Of the gates of a release, whatever their order."""
    encoded = sorted(msgspec.json.encode(gate, order="sorted") for gate in gates)
    return sha256(b"\n".join(encoded)).hexdigest()


def promise_mistakes(promise: Promise, bundles: Mapping[Tier, str], gates: Sequence[Any]) -> list[str]:
    """Why the promise is not one for this ladder and these gates. Empty: it is."""
    mistakes = []
    if dict(promise.ladder) != dict(bundles):
        others = sorted(tier for tier in {*promise.ladder, *bundles} if promise.ladder.get(tier) != bundles.get(tier))
        mistakes.append(f"its thresholds are for other bundles of {', '.join(others)}: calibrate again")
    if promise.gates_digest != gates_digest(gates):
        mistakes.append("its guarantee is for other gates or thresholds: calibrate again")
    return mistakes
