"""Drift on real data: a voice that the device's model never heard, a phone whose radio hears otherwise."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import shift
from cascade.release.ladder import Care

DATA = os.environ.get("CASCADE_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(DATA is None, reason="CASCADE_DATA is not set"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def speakers():
    return list(islice(shift.speakers(Path(DATA or "")), 2))


@pytest.fixture(scope="module")
def phone():
    return next(shift.phones(Path(DATA or "")))


def test_a_new_speaker_is_noticed_within_200_questions_and_more_climb(speakers):
    for new in speakers:
        seen = shift.run(new, Care())
        assert seen.noticed_after is not None
        assert 0 < seen.noticed_after <= 200, new.name
        assert seen.climbed_new > seen.climbed_known + 0.2


def test_with_a_new_speaker_the_cascade_loses_less_than_half_of_what_the_device_alone_does(speakers):
    for new in speakers:
        seen = shift.run(new, Care())
        assert seen.right_known - seen.right_new < 0.5 * (new.known.right - new.new.right), new.name


def test_a_careful_cascade_loses_less_than_one_whose_thresholds_stay(speakers):
    for new in speakers:
        assert shift.run(new, Care()).right_new > shift.run(new, Care(most=1.0)).right_new + 0.05, new.name


def test_those_who_are_known_raise_no_alarm(speakers):
    for new in speakers:
        same = new._replace(new=new.known)
        assert shift.run(same, Care()).noticed_after is None, new.name


def test_another_phone_is_noticed_within_200_questions(phone):
    seen = shift.run(phone, Care())
    assert seen.noticed_after is not None
    assert 0 < seen.noticed_after <= 200
    assert seen.climbed_new > seen.climbed_known
