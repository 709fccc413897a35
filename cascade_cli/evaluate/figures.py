"""The figures of an evaluation: of each system on its own, of the cascade against others, and of single models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cascade.inference.recordings import StageRecord
from cascade.messages import Energy
from cascade.release.bundle import TIERS
from cascade_cli.evaluate.intervals import UNKNOWN, Array, Figure, mean_of, quantile_of, ratio_of, share_of
from cascade_cli.evaluate.replayed import Replayed

QUANTILES = (0.5, 0.95, 0.99)


class Row(NamedTuple):
    """One system. Bytes and joules are per question."""

    system: str
    questions: int
    right: Figure
    ms: Mapping[str, Figure]
    """`p50`, `p95`, `p99`."""
    bytes_up: Figure
    """That the device sends."""
    bytes_up_by: Mapping[str, Figure]
    """Of each tier that sends something."""
    device_joules: Figure
    """The device's models, and its radio by the settings' `joules_per_byte`."""
    all_joules: Figure
    """With the models of the tiers above."""
    energy: str
    answered: Mapping[str, Figure]
    """Share that each stage answers."""
    provisional: Figure
    decisions: str


class Difference(NamedTuple):
    """The cascade against another system, on the same samples."""

    other: str
    right: Figure
    """Share right of the cascade, less that of the other."""
    bytes_up: Figure
    """How many times as many bytes the other sends."""
    device_joules: Figure
    """How many times as many joules the other's device takes."""


def row_of(replayed: Replayed, joules_per_byte: float, seed: int) -> Row:
    device = device_joules(replayed, joules_per_byte)
    above = np.sum([replayed.model_joules[tier] for tier in TIERS[1:]], axis=0)
    sends = {tier: each for tier, each in replayed.bytes_up.items() if each.any()}
    places = sorted(set(replayed.answered_by), key=_from_the_device_up)
    by = np.array(replayed.answered_by)
    return Row(
        system=replayed.system,
        questions=replayed.questions,
        right=share_of(replayed.right),
        ms={f"p{100 * share:g}": quantile_of(replayed.ms, share) for share in QUANTILES},
        bytes_up=mean_of(replayed.bytes_up["edge"], seed),
        bytes_up_by={tier: mean_of(each, seed) for tier, each in sends.items()},
        device_joules=_known_mean(device, seed),
        all_joules=_known_mean(device + above, seed),
        energy=_energy(replayed, joules_per_byte),
        answered={place: share_of(by == place) for place in places},
        provisional=share_of(replayed.provisional),
        decisions=replayed.decisions,
    )


def device_joules(replayed: Replayed, joules_per_byte: float) -> Array:
    """Per question. NaN where a model's costs are not known."""
    return np.asarray(replayed.model_joules["edge"] + replayed.bytes_up["edge"] * joules_per_byte)


def difference(cascade: Replayed, other: Replayed, joules_per_byte: float, seed: int) -> Difference:
    return Difference(
        other=other.system,
        right=mean_of(cascade.right - other.right, seed),
        bytes_up=ratio_of(other.bytes_up["edge"], cascade.bytes_up["edge"], seed),
        device_joules=ratio_of(device_joules(other, joules_per_byte), device_joules(cascade, joules_per_byte), seed),
    )


class Single(NamedTuple):
    """One model, alone on the device, on all samples."""

    place: str
    right: Figure
    less_right: Figure
    """Share right of the cascade, less that of this model."""
    joules: float | None
    """Of one run. None: its costs are not known."""
    ms: float
    """Of one run, as measured here."""
    model_bytes: int


class Candidate(NamedTuple):
    """A model that was recorded, and where it comes from."""

    place: str
    right: Array
    stage: StageRecord
    model_bytes: int


def singles(candidates: Sequence[Candidate], cascade: Array, seed: int) -> list[Single]:
    """The cheapest first: by joules where all are known, else by the size of the model."""
    found = [
        Single(
            place=each.place,
            right=share_of(each.right),
            less_right=mean_of(cascade - each.right, seed),
            joules=_run_joules(each.stage),
            ms=float(np.median(each.stage.ms)),
            model_bytes=each.model_bytes,
        )
        for each in candidates
    ]
    known = all(each.joules is not None for each in found)
    return sorted(found, key=lambda each: each.joules if known and each.joules is not None else each.model_bytes)


def as_good(single: Single) -> bool:
    """These samples can't tell that the cascade is better."""
    return single.less_right.low is not None and single.less_right.low <= 0.0


def _run_joules(stage: StageRecord) -> float | None:
    return None if stage.energy == Energy.UNKNOWN else float(np.nanmean(stage.joules))


def _known_mean(values: Array, seed: int) -> Figure:
    return UNKNOWN if np.isnan(values).any() else mean_of(values, seed)


def _energy(replayed: Replayed, joules_per_byte: float) -> str:
    if Energy.UNKNOWN in replayed.energy:
        return Energy.UNKNOWN.value
    sources = {each.value for each in replayed.energy}
    if joules_per_byte and replayed.bytes_up["edge"].any():
        sources.add(Energy.ESTIMATED.value)
    return " and ".join(sorted(sources)) or Energy.UNKNOWN.value


def _from_the_device_up(place: str) -> tuple[int, str]:
    tier = place.partition("/")[0]
    return (TIERS.index(tier) if tier in TIERS else len(TIERS), place)
