"""What one sample costs a stage, all of it: the model, what is done to the input before it, and moving the input.

The bundle says what the model costs (`Costs`). The rest follows from the settings of the stage, its rate, its
resolution, its sensors, and is worked out here. What scales, and with what:

- multiply-adds of the features: with the size of the input, each feature by its own formula;
- bytes moved: those of the raw sample once, and those of what the model is fed twice (written and read), added to what
  the bundle declares, which does not scale (most of it is weights);
- multiply-adds of the model: with what it is fed, in proportion, where the bundle says at which size they were counted
  (`at_elements`): right for convolutions and recurrent models. Elsewhere they stay as declared.
"""

from __future__ import annotations

import math

from msgspec.structs import replace

from cascade.messages import DTYPES
from cascade.release.bundle import Costs, InputSpec, StageSpec
from cascade.release.features import multiply_adds_of

FED_BYTES = 4
"""Per number that the model is fed: float32, or what becomes it."""


def whole_costs(stage: StageSpec) -> Costs:
    """`Costs()` where the bundle says nothing of its model: a part of the cost must not look like all of it."""
    declared = stage.costs
    if not (declared.multiply_adds or declared.bytes_moved):
        return declared
    asked = [spec for spec in stage.inputs if spec.asked]
    fed = sum(math.prod(spec.fed_shape) for spec in asked)
    share = fed / declared.at_elements if declared.at_elements else 1.0
    return replace(
        declared,
        multiply_adds=round(declared.multiply_adds * share),
        bytes_moved=declared.bytes_moved + sum(map(_bytes_moved, asked)),
        preparing_multiply_adds=declared.preparing_multiply_adds + sum(map(_preparing, asked)),
        at_elements=0,
    )


def with_share_of(costs: Costs, others: Costs, share: float) -> Costs:
    """Of one sample, where for a share of the samples other work is done as well. Both are whole."""
    return replace(
        costs,
        multiply_adds=costs.multiply_adds + round(share * others.multiply_adds),
        bytes_moved=costs.bytes_moved + round(share * others.bytes_moved),
        preparing_multiply_adds=costs.preparing_multiply_adds + round(share * others.preparing_multiply_adds),
    )


def _preparing(spec: InputSpec) -> int:
    return multiply_adds_of(spec.features, spec.shape)


def _bytes_moved(spec: InputSpec) -> int:
    raw = math.prod(spec.shape) * DTYPES[spec.dtype]
    return raw + (2 * FED_BYTES * math.prod(spec.fed_shape) if spec.features else 0)
