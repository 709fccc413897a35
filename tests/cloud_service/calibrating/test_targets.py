"""Targets as people write them, and the numbers that count for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cascade.errors import SettingsError
from cascade.inference.scoring import climb, weighed
from cloud_service.calibrating.guarantee import all_climb
from cloud_service.calibrating.targets import (
    PACKET_BYTES,
    Circumstances,
    Losses,
    Target,
    missing_facts,
    read_target,
    read_targets,
)


@pytest.mark.parametrize(
    ("text", "kind", "bound", "label", "confidence"),
    [
        ("at most 0.5 points worse than the cloud, with 90 % confidence", "worse", 0.005, "", 0.9),
        ("at most 1 point worse than the cloud on fault with 95% confidence", "worse", 0.01, "fault", 0.95),
        ("0.5 points worse than the top", "worse", 0.005, "", None),
        ("at most 3 % wrong", "wrong", 0.03, "", None),
        ("no more than 3% wrong on fault", "wrong", 0.03, "fault", None),
        ("at most 1 % disagreement with the cloud", "disagreement", 0.01, "", None),
        ("at most 5 kB per minute", "bytes", 5000.0, "", None),
        ("no more than 2 mJ per question", "joules", 0.002, "", None),
        ("at  most 200 B a minute", "bytes", 200.0, "", None),
        ("At most .5 Points worse than The Cloud on Fault, With 90 % Confidence", "worse", 0.005, "Fault", 0.9),
        ("At most 5 KB per minute", "bytes", 5000.0, "", None),
        ("at most 5 kB/minute", "bytes", 5000.0, "", None),
        ("at most 5 kB / min", "bytes", 5000.0, "", None),
        ("at most 2 µJ/question", "joules", 2e-6, "", None),
    ],
)
def test_a_target_is_read_as_people_say_it(text, kind, bound, label, confidence):
    target, said = read_target(text)
    assert (target.kind, target.label, said) == (kind, label, confidence)
    assert target.bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["as good as possible"], "expected .at most 0.5 points worse"),
        (["at most 0 points worse than the cloud"], "more than 0"),
        (["at most 5 MJ per question"], "expected .at most"),
        (["at most . points worse than the cloud"], "expected .at most"),
        (["at most 100 % wrong"], "less than all"),
        (["at most 3 % wrong, with 90 % confidence", "at most 5 B per minute with 95 % confidence"], "two confidences"),
        (["at most 3 % wrong, with 100 % confidence"], "less than 100 %"),
    ],
)
def test_a_target_that_cant_be_meant_is_refused_with_what_can(texts, said):
    with pytest.raises(SettingsError, match=said):
        read_targets(texts)


@pytest.mark.parametrize(
    ("text", "amount", "said"),
    [
        ("at most 0.5 points worse than the cloud", 0.0123, "1.23 points"),
        ("at most 3 % wrong", 0.0123, "1.23 %"),
        ("at most 1 % disagreement", 0.0123, "1.23 %"),
        ("at most 5 kB per minute", 1234.0, "1.234 kB per minute"),
        ("at most 0.0002 mJ per question", 1.263e-05, "0.01263 mJ per question"),
    ],
)
def test_amounts_are_told_in_the_unit_of_their_target(text, amount, said):
    assert read_target(text)[0].said(amount) == said


def test_a_target_of_a_program_has_the_usual_unit():
    assert Target("bytes", 1.0).said(20.0) == "20 B per minute"
    assert Target("joules", 1.0).said(0.5) == "0.5 J per question"


def losses_of(taken, problems, at, **circumstances):
    gates = problems.gates_of(problems.PROBLEMS[0])
    stages = [weighed(record, gate) for record, gate in zip(taken.stages, gates, strict=True)]
    return Losses(all_climb(taken, stages), Circumstances(**circumstances)), climb(taken, stages, [at, None])


def test_a_cascade_that_sends_everything_is_not_worse_than_its_top(plain, problems):
    losses, scored = losses_of(plain(500), problems, 2.0)
    assert not losses.counted(Target("worse", 0.01), scored).values.any()
    assert not losses.counted(Target("disagreement", 0.01), scored).values.any()


def test_worse_and_better_are_counted_sample_by_sample(plain, problems):
    taken = plain(2000)
    losses, scored = losses_of(taken, problems, 0.0)
    counted = losses.counted(Target("worse", 0.01), scored)
    assert counted.mean == pytest.approx(taken.right(taken.stages[1]).mean() - taken.right(taken.stages[0]).mean())
    assert set(counted.values.tolist()) == {-1.0, 0.0, 1.0}


def test_costs_weigh_what_is_wrong_by_its_class(plain, problems):
    losses, scored = losses_of(plain(2000), problems, 0.5, costs={"3": 20.0})
    values = losses.counted(Target("wrong", 0.01), scored).values
    assert set(values.tolist()) == {0.0, 1.0, 20.0}
    assert losses.counted(Target("wrong", 0.01, "3"), scored).samples == (scored.recordings.label == 3).sum()


def test_bytes_and_joules_count_the_device_alone(plain, problems):
    losses, scored = losses_of(plain(100), problems, 2.0, questions_per_minute=10.0, joules_per_byte=1e-6)
    packet = problems.BYTES + PACKET_BYTES
    assert losses.counted(Target("bytes", 1.0), scored).mean == pytest.approx(10 * packet)
    assert losses.counted(Target("joules", 1.0), scored).mean == pytest.approx(0.001 + packet * 1e-6)


def test_what_stays_below_takes_no_packet(plain, problems):
    losses, scored = losses_of(plain(100), problems, 0.0, questions_per_minute=10.0)
    assert losses.counted(Target("bytes", 1.0), scored).mean == 0.0


def test_what_a_message_may_take_bounds_budgets_and_not_the_largest_that_was_seen(plain, problems):
    """A bet is only fair where the bound owes nothing to what was drawn."""
    taken = replace(plain(100), max_input_bytes=3 * problems.BYTES)
    losses, scored = losses_of(taken, problems, 2.0, questions_per_minute=10.0, joules_per_byte=1e-6)
    packet = 3 * problems.BYTES + PACKET_BYTES
    assert losses.counted(Target("bytes", 1.0), scored).high == pytest.approx(10 * packet)
    assert losses.counted(Target("joules", 1.0), scored).high == pytest.approx(0.001 + 1e-6 * packet)


def test_what_was_never_recorded_counts_as_wrong(plain, problems):
    taken = plain(100)
    gone = replace(taken, stages=(taken.stages[0], replace(taken.stages[1], ran=np.zeros(100, bool))))
    losses, scored = losses_of(gone, problems, 2.0)
    assert losses.counted(Target("wrong", 0.1), scored).mean == 1.0
    assert losses.counted(Target("disagreement", 0.1), scored).mean == 1.0


def test_what_keeps_a_target_from_being_judged_is_said(plain):
    taken = plain(10)
    targets = [read_target(text)[0] for text in ("at most 1 % wrong on dog", "at most 5 kB per minute")]
    said = missing_facts(targets, replace(taken, label=np.full(10, -1)), Circumstances(costs={"cat": 2.0}))
    assert [one.split(";")[0] for one in said] == [
        "bytes per minute need to know how many questions a minute there will be",
        "no label 'cat'",
        "no label 'dog'",
        "no sample has a label",
    ]
    silent = replace(taken, stages=tuple(replace(stage, energy="unknown") for stage in taken.stages))
    assert "no joules are recorded" in missing_facts([Target("joules", 1.0)], silent, Circumstances())[0]
