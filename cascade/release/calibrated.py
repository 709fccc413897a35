"""A stage's calibration, as a manifest carries it: how its scores are bent, and of which exact bytes that is true.

Quantising a model moves its confidences, so a calibration that outlives its model is worse than none: each names the
digest of the stage that it was fitted on, and a bundle in which that is another stage is refused.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

from cascade.release.words import Count, Described, Sha256

MAX_KNOTS = 256
METHODS = ("temperature", "vector", "platt", "isotonic", "per_class")

Numbers = Annotated[tuple[float, ...], msgspec.Meta(max_length=4096)]


class Calibration(Described, frozen=True):
    """How scores become probabilities. `cloud_service.calibrating` fits it, `cascade.inference.calibration` applies it.

    `temperature`: one scale for all log scores. `vector`: a scale and a shift per class. `platt`: a scale and a shift
    of the log odds of the best class. `per_class`: those of `platt`, for each class that can be best. `isotonic`: a
    rising line through `knots` and `values`, for the best class.
    """

    method: Literal["temperature", "vector", "platt", "isotonic", "per_class"]
    stage_digest: Sha256
    """Of the stage it was fitted on: model file, preprocessing, output and labels."""
    scale: Numbers = ()
    shift: Numbers = ()
    knots: Numbers = ()
    values: Numbers = ()
    floor: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 1e-30
    """In place of a score of 0, which has no logarithm. Half a step of an output that was quantised."""
    samples: Count = 0
    """How many it was fitted on."""
    error_before: float = 0.0
    """Expected calibration error, on samples that the fit did not see."""
    error_after: float = 0.0


def calibration_mistakes(calibration: Calibration, labels: int) -> list[str]:
    """What the types can't say. `labels` is how many the stage names."""
    numbers = (*calibration.scale, *calibration.shift, *calibration.knots, *calibration.values)
    if not all(map(math.isfinite, numbers)):
        return ["a calibration with a number that is not finite"]
    if calibration.method == "isotonic":
        return _isotonic_mistakes(calibration)
    wanted = {"temperature": (1, 0), "platt": (1, 1)}.get(calibration.method, (labels, labels))
    if (len(calibration.scale), len(calibration.shift)) != wanted or calibration.knots or calibration.values:
        return [f"a {calibration.method} calibration needs {wanted[0]} scales and {wanted[1]} shifts, and no knots"]
    if calibration.method != "vector" and min(calibration.scale) <= 0.0:
        return [f"a {calibration.method} calibration must keep the order of confidences: its scales are above 0"]
    return []


def _isotonic_mistakes(calibration: Calibration) -> list[str]:
    knots, values = calibration.knots, calibration.values
    if calibration.scale or calibration.shift or len(knots) != len(values) or not 2 <= len(knots) <= MAX_KNOTS:
        return [f"an isotonic calibration needs 2 to {MAX_KNOTS} knots, as many values, and nothing else"]
    rising = all(a < b for a, b in pairwise(knots))
    kept = all(a <= b for a, b in pairwise(values))
    inside = all(0.0 <= number <= 1.0 for number in (*knots, *values))
    return [] if rising and kept and inside else ["the knots of a calibration rise, its values never fall, in 0 to 1"]
