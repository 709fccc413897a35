"""References: of exactly the bundle and the gate that they name."""

from __future__ import annotations

import msgspec
import pytest

from cascade.release.ladder import GateSpec
from cascade.release.reference import Reference, Shape, reference_mistakes, shape_mistakes

SHAPE = Shape(edges=(0.5, 0.9), counts=(10, 20, 70, 0))


class Entry(msgspec.Struct):
    tier: str
    stage: str
    gate: GateSpec


def reference(**more) -> Reference:
    usual = {"tier": "edge", "stage": "small", "bundle": "a" * 64, "gate": "confidence", "confidence": SHAPE}
    return Reference(**{**usual, **more})


GATES = (Entry("edge", "small", GateSpec("confidence", 0.9)),)


def test_a_reference_of_this_bundle_and_gate_is_taken():
    assert reference_mistakes((reference(),), {"edge": "a" * 64}, GATES) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bundle": "b" * 64}, "of another bundle"),
        ({"gate": "margin"}, "a gate 'margin', which the stage has not"),
        ({"stage": "large"}, "a gate 'confidence', which the stage has not"),
        ({"cues": (Shape(edges=(), counts=(0, 0)),)}, "no samples"),
    ],
)
def test_a_reference_of_something_else_is_refused(wrong, said):
    (mistake,) = reference_mistakes((reference(**wrong),), {"edge": "a" * 64}, GATES)
    assert said in mistake


def test_a_stage_has_one_reference():
    assert reference_mistakes((reference(), reference()), {"edge": "a" * 64}, GATES) == ["a stage has two references"]


@pytest.mark.parametrize(
    ("edges", "counts"),
    [((0.9, 0.5), (1, 1, 1, 1)), ((0.5, 0.5), (1, 1, 1, 1)), ((float("nan"),), (1, 1, 1)), ((0.5,), (1, 1))],
)
def test_a_shape_that_cant_be_is_refused(edges, counts):
    assert shape_mistakes(Shape(edges=edges, counts=counts)) != []
