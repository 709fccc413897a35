"""Making a release's references: from recorded predictions to shares of outcomes.

Edges stand at quantiles of what was recorded, more of them at both ends, because that is where drift shows first.
Quantised models say the same few numbers over and over: edges that fall together are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.inference.recordings import Recordings
from cascade.inference.scoring import climb, weighed
from cascade.inference.shares import wilson
from cascade.release.ladder import GateSpec
from cascade.release.reference import Reference, Shape

Array = npt.NDArray[Any]

QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
LEAST_SAMPLES = 100
"""With fewer, chance alone may move the shares so far that nothing would ever be called drift."""
SELDOM = 2.576
"""Standard deviations by which the recorded agreement is lowered: true agreement is below that in 1 case of 200."""


def shape_of(values: Array) -> Shape:
    """Of one number per sample; NaN where there was none."""
    values = np.asarray(values, float)
    numbers = values[~np.isnan(values)]
    finite = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(finite, QUANTILES)) if len(finite) else np.zeros(0)
    counts = np.bincount(np.searchsorted(edges, numbers, side="right"), minlength=len(edges) + 1)
    return Shape(edges=tuple(edges.tolist()), counts=(*counts.tolist(), len(values) - len(numbers)))


def enough_for_references(recordings: Recordings) -> bool:
    return int(recordings.stages[0].ran.sum()) >= LEAST_SAMPLES


def references_of(
    recordings: Recordings, gates: Sequence[GateSpec], bundles: dict[str, str], *, tolerance: float = 0.01
) -> tuple[Reference, ...]:
    """Of the lowest tier's first stage, which sees every question; what others see depends on thresholds below them.

    `bundles` are the digests of the bundles' manifests, by tier. `recordings` must be calibrated as the release is.
    Nothing, where there are too few samples.
    """
    first, gate = recordings.stages[0], gates[0]
    ran = first.ran
    if not enough_for_references(recordings) or first.tier not in bundles:
        return ()
    seen = weighed(first, gate)
    values = np.where(seen.readable, seen.values, np.nan)[ran]
    cues = () if first.cues is None else tuple(shape_of(column) for column in first.cues[ran].T)
    return (
        Reference(
            tier=first.tier,  # type: ignore[arg-type]  # recordings know no other tiers
            stage=first.name,
            bundle=bundles[first.tier],
            gate=gate.name,
            confidence=shape_of(values),
            cues=cues,
            agreement=_agreement(recordings, gates),
            tolerance=tolerance,
        ),
    )


def _agreement(recordings: Recordings, gates: Sequence[GateSpec]) -> float | None:
    """Of what the lowest tier answers, how often the rest of the ladder says the same, and no less than this. Audits,
    which show it in the field, send the input, also where hidden features of it would be smaller."""
    lowest = recordings.stages[0].tier
    inputs = [replace(each, sent_bytes=None) if each.tier == lowest else each for each in recordings.stages]
    recordings = replace(recordings, stages=tuple(inputs))
    stages = [weighed(record, gate) for record, gate in zip(recordings.stages, gates, strict=True)]
    first_above = sum(stage.tier == lowest for stage in recordings.stages)
    if first_above == len(stages):
        return None
    whole = climb(recordings, stages, [stage.gate.threshold for stage in stages])
    never = [float("nan")] * first_above
    above = climb(recordings, stages, [*never, *[stage.gate.threshold for stage in stages[first_above:]]])
    answered = (whole.answered_by >= 0) & (whole.answered_by < first_above) & (above.answered_by >= first_above)
    settled = np.flatnonzero(answered)
    if not len(settled):
        return None
    agreed = sum(
        _agrees(recordings, int(whole.answered_by[row]), int(above.answered_by[row]), row) for row in settled.tolist()
    )
    return wilson(agreed / len(settled), len(settled), SELDOM)[0]


def _agrees(recordings: Recordings, below: int, above: int, row: int) -> bool:
    one, other = recordings.stages[below], recordings.stages[above]
    return one.prediction(row).agrees(other.prediction(row))
