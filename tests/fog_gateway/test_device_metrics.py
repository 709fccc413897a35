"""Metrics of devices, from the device's tally to the gateway's page, past hostile ones."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from cascade import metrics
from cascade.adapters.metrics_relay import MAX_METRICS_BYTES, metrics_message
from cascade.adapters.prometheus import text_page
from cascade.inference.effects import RecordDecision, Reply, RunStage
from cascade.inference.events import Asked, LadderInstalled, LinkLost, Predicted, Sent, Ticked
from cascade.messages import Answer, ClassScores, Decision, Outcome, Question, Verdict
from cascade.metrics import CLOSED, ROWS, Kind, Reading, Row
from cascade.release.ladder import Ladder
from cascade.series import MAX_LABEL
from cascade.tally import Tally
from cascade.wire.codec import Sample, encode_metrics
from fog_gateway.device_metrics import DeviceMetrics, DeviceMetricsSettings
from fog_gateway.settings import DevicesTable

CAM = "barn.cam1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def gateway(clock: Clock, **settings) -> DeviceMetrics:
    return DeviceMetrics(DeviceMetricsSettings(**settings), clock=clock)


def sent(count: int) -> Tally:
    tally = Tally("edge")
    tally.observe(Sent("above", count), [], 0.0)
    return tally


def said(table: DeviceMetrics, row: Row) -> list[Reading]:
    return [reading for reading in table.readings() if reading.row is row and reading.device]


def losses(count: int) -> bytes:
    return encode_metrics([Sample(metrics.LINK_LOSSES.name, ("edge", f"reason{i}"), 1.0) for i in range(count)])


def test_what_a_device_counted_is_shown_under_its_name(clock):
    table = gateway(clock)
    tally = Tally("edge")
    asked = Question(id="q", device=CAM, stream="gate", sequence=1, task="animal", release="r", payload=(), ms_left=1.0)
    decision = RecordDecision(asked, Decision(Verdict.CLIMB, "unsure", 0.4, 0.9), "small", "fox")
    tally.observe(Asked(asked, "here"), [decision], 0.0)
    table.take(CAM, metrics_message(tally))
    shown = [reading._replace(device="") for reading in table.readings() if reading.row is not metrics.DEVICE_AGE]
    assert shown == sorted(tally.snapshot(), key=lambda reading: bool(reading.buckets))
    assert {reading.device for reading in table.readings()} == {CAM}


def test_an_ordinary_device_fits_into_what_the_settings_grant_by_themselves(clock):
    """One task, ten classes, answers from all tiers."""
    tally = Tally("edge")
    ladder = Ladder(task="animal", release="r", stages=())
    tally.observe(LadderInstalled(ladder), [], 0.0)
    for number, by in enumerate(("edge", "fog", "cloud") * 10):
        asked = Question(
            id=f"q{number}", device=CAM, stream="s", sequence=1, task="animal", release="r", payload=(), ms_left=1.0
        )
        run = RunStage(number, "animal", "r", "small", (asked,))
        decision = RecordDecision(asked, Decision(Verdict.ANSWER, "sure", 0.9, 0.8), "small", f"class {number % 10}")
        answer = Answer(
            id=asked.id, device=CAM, digest=b"", stream="s", sequence=1, task="animal", release="r",
            outcome=Outcome.ANSWERED, reason="sure", tier=by,
        )  # fmt: skip
        first = Reply("here", msgspec.structs.replace(answer, provisional=True, tier="edge"))
        last = Reply("here", msgspec.structs.replace(answer, correction=number % 2 == 0))
        tally.observe(Asked(asked, "here"), [run, decision, *([first] if number % 2 == 0 else []), last], 0.0)
        tally.observe(Predicted(number, (ClassScores((0.9, 0.1)),)), [], 0.0)
    usual = DevicesTable()
    table = gateway(clock, max_devices=usual.max_devices, max_series_per_device=usual.max_series_per_device)
    table.take(CAM, metrics_message(tally))
    assert table.refused == {}


def test_devices_and_the_gateway_itself_stand_on_one_page(clock):
    table = gateway(clock)
    table.take(CAM, metrics_message(sent(10)))
    table.take("barn.cam2", metrics_message(sent(20)))
    page = text_page([*Tally("fog").snapshot(), *table.readings()]).decode()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    bytes_sent = {s.labels["device"]: s.value for s in samples if s.name == "cascade_link_bytes_total"}
    assert bytes_sent == {CAM: 10, "barn.cam2": 20}
    assert [s.labels for s in samples if s.name == "cascade_open_questions" and "device" not in s.labels] == [
        {"tier": "fog"}
    ]


def test_a_later_message_takes_the_place_of_the_one_before_also_after_a_restart(clock):
    table = gateway(clock)
    for count in (500, 600, 7):
        table.take(CAM, metrics_message(sent(count)))
        clock.now += 10
        assert [reading.value for reading in said(table, metrics.LINK_BYTES)] == [count]


def test_a_silent_device_is_dropped_and_its_place_is_free(clock):
    table = gateway(clock, forget_after_s=60, max_devices=1)
    table.take(CAM, metrics_message(sent(1)))
    clock.now += 59
    assert said(table, metrics.DEVICE_AGE)[0].value == 59
    clock.now += 2
    assert said(table, metrics.DEVICE_AGE) == []
    table.take("barn.cam2", metrics_message(sent(1)))
    assert {reading.device for reading in said(table, metrics.LINK_BYTES)} == {"barn.cam2"}


def test_more_devices_than_allowed_are_refused_and_those_that_are_there_stay(clock):
    table = gateway(clock, max_devices=2)
    for i in range(5):
        table.take(f"barn.cam{i}", metrics_message(sent(1)))
    assert {reading.device for reading in said(table, metrics.LINK_BYTES)} == {"barn.cam0", "barn.cam1"}
    assert table.refused == {"devices": 3}


def test_a_flood_is_refused_unread(clock):
    table = gateway(clock, min_interval_s=1.0)
    table.take(CAM, metrics_message(sent(1)))
    for _ in range(1000):
        table.take(CAM, b"not even metrics")
    assert table.refused == {"flood": 1000}
    clock.now += 1.0
    table.take(CAM, metrics_message(sent(2)))
    assert said(table, metrics.LINK_BYTES)[0].value == 2


def test_one_device_has_no_more_series_than_allowed(clock):
    table = gateway(clock, max_series_per_device=100)
    table.take(CAM, losses(1000))
    assert len(said(table, metrics.LINK_LOSSES)) == 100
    assert table.refused == {"series": 900}


def test_a_histogram_takes_as_much_room_as_it_has_lines(clock):
    table = gateway(clock, max_series_per_device=3 * metrics.STAGE_TIME.lines)
    buckets = tuple(range(len(metrics.STAGE_TIME.buckets) + 1))
    table.take(
        CAM, encode_metrics([Sample(metrics.STAGE_TIME.name, ("edge", "t", f"s{i}"), 1, buckets) for i in range(9)])
    )
    assert len(said(table, metrics.STAGE_TIME)) == 3
    assert text_page(said(table, metrics.STAGE_TIME)).count(b"\n") == 2 + 3 * metrics.STAGE_TIME.lines


BUCKETS = tuple(range(len(metrics.LATENCY.buckets) + 1))
LATENCY_LABELS = ("edge", "animal", "edge", "final")


@pytest.mark.parametrize(
    ("sample", "fault"),
    [
        (Sample("up", ("edge",), 1), "metric"),
        (Sample("cascade_device_metrics_age_seconds", ("edge",), 1), "metric"),
        (Sample("cascade_device_metrics_refused_total", ("edge", "size"), 1), "metric"),
        (Sample("cascade_link_losses_total", ("edge",), 1), "labels"),
        (Sample("cascade_link_losses_total", (), 1), "labels"),
        (Sample("cascade_link_losses_total", ("edge", "a", "b"), 1), "labels"),
        (Sample("cascade_link_losses_total", ("cloud", "silent"), 1), "labels"),
        (Sample("cascade_link_losses_total", ("edge", "silent"), 1, (1, 2)), "buckets"),
        (Sample("cascade_answer_latency_seconds", LATENCY_LABELS, 1), "buckets"),
        (Sample("cascade_answer_latency_seconds", LATENCY_LABELS, 1, BUCKETS[1:]), "buckets"),
        (Sample("cascade_answer_latency_seconds", LATENCY_LABELS, 1, tuple(reversed(BUCKETS))), "buckets"),
        (Sample("cascade_answer_latency_seconds", LATENCY_LABELS, -1, BUCKETS), "number"),
        (Sample("cascade_link_losses_total", ("edge", "silent"), -1), "number"),
    ],
)
def test_a_sample_that_is_not_of_the_table_is_refused_and_the_others_are_taken(clock, sample, fault):
    table = gateway(clock)
    good = Sample("cascade_spool_bytes", ("edge",), 5)
    table.take(CAM, encode_metrics([sample, good]))
    assert table.refused == {fault: 1}
    assert {reading.row for reading in table.readings() if reading.device} == {metrics.SPOOL_BYTES, metrics.DEVICE_AGE}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_message_with_a_number_that_is_none_is_refused(clock, value):
    table = gateway(clock)
    table.take(CAM, encode_metrics([Sample("cascade_spool_bytes", ("edge",), value)]))
    assert table.refused == {"number": 1}


@given(st.binary(max_size=300))
def test_rubbish_harms_nobody(rubbish):
    table = DeviceMetrics(clock=Clock())
    table.take("barn.cam2", metrics_message(sent(5)))
    table.take(CAM, rubbish)
    assert said(table, metrics.LINK_BYTES)[0].device == "barn.cam2"
    text_page(table.readings())


def test_after_rubbish_what_was_said_before_stands(clock):
    table = gateway(clock)
    table.take(CAM, metrics_message(sent(5)))
    clock.now += 5
    table.take(CAM, b"\xff\xff")
    assert said(table, metrics.LINK_BYTES)[0].value == 5
    assert table.refused == {"unparseable": 1}


def test_values_of_labels_are_bounded_and_of_closed_ones_known(clock):
    table = gateway(clock)
    table.take(
        CAM,
        encode_metrics([
            Sample("cascade_link_losses_total", ("edge", 'x"}' * 60), 1),
            Sample("cascade_peer_faults_total", ("edge", "made up"), 1),
        ]),
    )  # fmt: skip
    assert [reading.labels[1] for reading in said(table, metrics.LINK_LOSSES)] == [('x"}' * 60)[:MAX_LABEL]]
    assert [reading.labels[1] for reading in said(table, metrics.PEER_FAULTS)] == ["other"]


def test_two_samples_of_one_series_are_one(clock):
    table = gateway(clock)
    table.take(CAM, encode_metrics([Sample("cascade_spool_bytes", ("edge",), value) for value in (1, 2)]))
    assert [reading.value for reading in said(table, metrics.SPOOL_BYTES)] == [1]


def test_what_was_refused_is_a_metric_of_the_gateway(clock):
    table = gateway(clock)
    table.take(CAM, b"\xff")
    (refused,) = [reading for reading in table.readings() if reading.row is metrics.DEVICE_REFUSED]
    assert (refused.labels, refused.value, refused.device) == (("fog", "unparseable"), 1, "")
    assert set(table.refused) <= CLOSED["fault"]


def test_a_message_stays_within_its_bytes_and_leaves_out_histograms_first():
    tally = Tally("edge")
    for i in range(1000):
        tally.observe(LinkLost(f"reason {i} {'x' * 40}"), [], 0.0)
        asked = Question(id="q", device=CAM, stream="s", sequence=1, task="t", release="r", payload=(), ms_left=1.0)
        decision = RecordDecision(asked, Decision(Verdict.ANSWER, f"why {i}", 0.5), f"stage {i}", f"class {i}")
        tally.observe(Ticked(), [decision], 0.0)
    message = metrics_message(tally)
    assert MAX_METRICS_BYTES * 0.8 < len(message) <= MAX_METRICS_BYTES
    table = DeviceMetrics()
    table.take(CAM, message)
    assert not table.refused or set(table.refused) == {"series"}
    assert not any(reading.buckets for reading in table.readings())


def test_a_busy_device_fits_in_its_message_and_in_its_bounds(clock):
    tally = Tally("edge")
    for row in ROWS:
        if row.kind is Kind.COUNTER and row is not metrics.DEVICE_REFUSED:
            for i in range(6):
                tally.count(row, tuple(f"{name}{i}" for name in row.labels[1:]))
    for stage in ("small", "large"):
        for label in range(10):
            asked = Question(id="q", device=CAM, stream="s", sequence=1, task="t", release="r", payload=(), ms_left=1.0)
            decided = RecordDecision(asked, Decision(Verdict.ANSWER, "sure", 0.95), stage, f"class {label}")
            tally.observe(Ticked(), [decided], 0.0)
    message = metrics_message(tally)
    table = gateway(clock)
    table.take(CAM, message)
    assert table.refused == {}
    assert len(message) < MAX_METRICS_BYTES / 3
