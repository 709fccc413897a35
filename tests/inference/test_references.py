"""References: what was usual on recorded samples, and never better than it surely was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cascade.inference.recordings import Recordings, StageRecord
from cascade.inference.references import LEAST_SAMPLES, references_of, shape_of
from cascade.inference.shares import wilson
from cascade.release.ladder import GateSpec

GATES = (GateSpec("confidence", 0.8), GateSpec("always"))
BUNDLES = {"edge": "0" * 64, "cloud": "1" * 64}


def stage(tier, says, sure):
    scores = np.stack([np.where(says == 0, sure, 1 - sure), np.where(says == 1, sure, 1 - sure)], axis=1)
    count = len(says)
    return StageRecord(
        tier=tier, name=tier, kind="classes", labels=("a", "b"), model=tier, stage_digest="0" * 64,
        columns={"scores": scores}, ran=np.ones(count, bool), ms=np.ones(count), joules=np.ones(count),
    )  # fmt: skip


def recorded(settled, agreed, unsure=0):
    """So many samples are answered below, and on so many of these the one above says the same."""
    count = settled + unsure
    number = np.arange(count)
    below = stage("edge", np.zeros(count, int), np.where(number < settled, 0.9, 0.6))
    above = stage("cloud", np.where(number < agreed, 0, 1), np.full(count, 0.9))
    return Recordings(
        task="t", stages=(below, above), label_names=("a", "b"), label=np.full(count, -1),
        input_bytes=np.full(count, 10), max_input_bytes=10,
    )  # fmt: skip


def test_agreement_is_no_better_than_it_surely_was():
    (found,) = references_of(recorded(settled=400, agreed=380, unsure=100), GATES, BUNDLES)
    assert found.agreement == pytest.approx(wilson(0.95, 400, 2.576)[0])
    assert 0.90 < found.agreement < 0.95


def test_agreement_is_with_who_takes_the_input_as_audits_bring_that():
    plain = recorded(settled=400, agreed=380)
    below, above = plain.stages
    sends = replace(below, stage_digest="2" * 64, sent_bytes=np.full(400, 5))
    other = replace(above, name="rest", root="2" * 64, columns={"scores": above.columns["scores"][:, ::-1]})
    crossing = replace(plain, stages=(sends, other, above))
    (usual,) = references_of(plain, GATES, BUNDLES)
    (found,) = references_of(crossing, (*GATES, GateSpec("always")), BUNDLES)
    assert found.agreement == usual.agreement


def test_with_more_samples_the_recorded_agreement_is_known_better():
    few, many = (references_of(recorded(count, count), GATES, BUNDLES)[0].agreement for count in (100, 10_000))
    assert few < 0.95 < many < 1.0


def test_where_nothing_is_answered_below_there_is_no_agreement():
    (found,) = references_of(recorded(settled=0, agreed=0, unsure=200), GATES, BUNDLES)
    assert found.agreement is None


def test_fewer_samples_than_tell_what_is_usual_make_no_reference():
    assert references_of(recorded(LEAST_SAMPLES, 90), GATES, BUNDLES)
    assert references_of(recorded(LEAST_SAMPLES - 1, 90), GATES, BUNDLES) == ()


def test_a_shape_counts_what_is_no_number_by_itself():
    shape = shape_of(np.array([*np.arange(100.0), np.nan, np.nan, np.inf]))
    assert (shape.counts[-1], sum(shape.counts)) == (2, 103)
    assert list(shape.edges) == sorted(set(shape.edges))
