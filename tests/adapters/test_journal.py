"""Journals: what is written comes back, whatever happens to the disk in between."""

from __future__ import annotations

import errno
import math
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascade import __version__
from cascade.adapters import journal_writer
from cascade.adapters.journal import Ended, previous, read_journal, replayed
from cascade.adapters.journal_writer import JournalWriter
from cascade.errors import StorageError
from cascade.inference import events as happened
from cascade.inference.effects import Reply
from cascade.inference.events import Asked, BadSample, Durability, Event, LadderInstalled, Predicted, Sent, Ticked
from cascade.messages import (
    AnomalyScore,
    Answer,
    ClassScores,
    Detection,
    Detections,
    Energy,
    Estimate,
    Key,
    Outcome,
    Question,
    Step,
    Tensor,
    Verdict,
)
from cascade.release.ladder import GateSpec, Ladder, LadderStage

KEY = Key("barn.cam1", "q1", b"d" * 16)
TENSOR = Tensor("image", "uint8", (2, 3), bytes(range(6)))


def question(payload: tuple[Tensor, ...] = (), **more) -> Question:
    said = {"id": "q1", "device": "barn.cam1", "stream": "gate", "sequence": 7, "task": "animal", "release": "r1"}
    return Question(payload=payload, ms_left=250.5, **{**said, **more})


STEP = Step(
    node="barn.cam1", tier="edge", stage="small", model="ab12", verdict=Verdict.CLIMB, reason="unsure", confidence=0.4,
    threshold=0.9, ms=3.5, joules=0.01, energy=Energy.MEASURED, bytes_up=900,
)  # fmt: skip
ANSWER = Answer(
    id="q1", device="barn.cam1", digest=b"d" * 16, stream="gate", sequence=7, task="animal", release="r1",
    outcome=Outcome.ANSWERED, reason="sure", prediction=ClassScores((0.1, 0.9)), label="fox", tier="cloud",
    correction=True, trail=(STEP, STEP),
)  # fmt: skip
LADDER = Ladder(
    task="animal",
    release="r1",
    stages=(
        LadderStage(name="small", kind="classes", gate=GateSpec("confidence", 0.9, ("none",)), labels=("fox", "none")),
    ),
)
RESULTS = (
    ClassScores((0.1, 0.2, 0.7)),
    Estimate((1.0, -2.0), (0.5, 0.25)),
    AnomalyScore(0.25, 0.75),
    Detections((Detection(1, 0.5, (0.0, 0.0, 0.5, 0.5)),), 0.125),
    BadSample("shape"),
)
EVERY_EVENT: list[Event] = [
    Asked(question((TENSOR,)), "here", Durability.SYNCED, True, ANSWER),
    happened.Kept(KEY, durable=False),
    happened.Remembered(KEY),
    happened.Evicted(question(), "here", "full"),
    Predicted(3, RESULTS, 12.25, 0.5, Energy.APPORTIONED),
    happened.RunFailed(3, "out_of_memory"),
    happened.Answered(ANSWER),
    Sent("above", 1234, (KEY, KEY)),
    happened.Packed(KEY, 120, 500),
    happened.Received("below", 99),
    happened.Unsendable(KEY, "too_large"),
    happened.LinkUp(),
    happened.LinkLost("silent"),
    happened.PeerFaulted("barn.cam1", "size", "much"),
    LadderInstalled(LADDER),
    Ticked(),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hop.journal"


def writer(path, **more) -> JournalWriter:
    return JournalWriter(path, **{"node": "barn.cam1", "tier": "edge", "flush_s": 0.01, "retry_s": 0.01, **more})


def written(path, events, **more) -> JournalWriter:
    journal = writer(path, **more)
    for i, event in enumerate(events):
        journal.append(i / 7, event)
    journal.close()
    return journal


def events_in(path, **more) -> list[Event]:
    return [event for _, event in read_journal(path, **more)]


def test_the_list_here_has_every_event_that_there_is():
    assert {type(event) for event in EVERY_EVENT} == set(Event.__args__)


def test_every_event_comes_back_as_it_was_with_its_time(path):
    written(path, EVERY_EVENT, payloads=True)
    journal = read_journal(path)
    assert list(journal) == [(i / 7, event) for i, event in enumerate(EVERY_EVENT)]
    assert (journal.ended, journal.left_bytes, journal.lost, journal.whole) == (Ended.COMPLETE, 0, 0, True)


def test_an_unreadable_prediction_comes_back_unreadable(path):
    written(path, [Predicted(1, (ClassScores((math.nan, math.inf)),))])
    (event,) = events_in(path)
    assert isinstance(event, Predicted)
    assert not event.results[0].readable()


def test_the_header_says_what_is_needed_to_build_the_hop_again(path):
    written(path, [Ticked()], seed=b"secret", rebuild={"max_open": 10, "uplink": {"bytes_per_s": 1.5}})
    header = read_journal(path).header
    assert (header.version, header.node, header.tier, header.seed) == (__version__, "barn.cam1", "edge", b"secret")
    assert header.rebuild == {"max_open": 10, "uplink": {"bytes_per_s": 1.5}}


def test_settings_that_no_header_can_hold_are_found_at_once(path):
    with pytest.raises(TypeError):
        writer(path, rebuild={"clock": object()})


def test_only_its_owner_may_read_it(path):
    before = os.umask(0)
    try:
        written(path, [Ticked()])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_payloads_lengths_and_digests_stay_and_the_bytes_are_on_no_disk(path):
    secret = b"do not tell " * 50
    asked = Asked(question((Tensor("x", "uint8", (600,), secret),), digest=b"0123456789abcdef"), "here")
    written(path, [asked], payloads=False)
    (event,) = events_in(path)
    assert b"do not tell" not in path.read_bytes()
    assert isinstance(event, Asked)
    assert event.question.payload_bytes == 600
    assert event.question.key == asked.question.key
    assert event.question.payload[0].data.startswith(asked.question.digest)


@pytest.mark.parametrize("digest", [b"", b"0123456789abcdef"])
def test_payloads_left_out_are_equal_afterwards_only_where_they_were_before(path, digest):
    payloads = [(Tensor("x", "uint8", (100,), bytes([i % 2]) * 100),) for i in range(4)]
    digests = [digest and bytes([i % 2]) + digest[1:] for i in range(4)]
    written(path, [Asked(question(p, digest=d), "") for p, d in zip(payloads, digests, strict=True)])
    a, b, c, d = [event.question.payload for event in events_in(path)]
    assert (a, b) == (c, d)
    assert a != b


def test_an_empty_tensor_may_be_left_out(path):
    written(path, [Asked(question((Tensor("x", "uint8", (0,), b""),)), "")])
    (event,) = events_in(path)
    assert event.question.payload_bytes == 0


def test_a_tail_torn_at_any_byte_costs_what_is_behind_it_and_says_how_much(path):
    written(path, EVERY_EVENT)
    data = path.read_bytes()
    complete = events_in(path)
    ends = set()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        try:
            journal = read_journal(path)
        except StorageError:
            assert not ends, "only a torn header makes it no journal"
            continue
        found = [event for _, event in journal]
        assert found == complete[: len(found)]
        assert (journal.ended is Ended.TORN) == (journal.left_bytes > 0)
        ends.add(len(found))
    assert ends == set(range(len(complete)))


def test_a_flipped_bit_anywhere_is_found_out(path):
    written(path, EVERY_EVENT)
    data, complete = path.read_bytes(), events_in(path)
    for at in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        try:
            journal = read_journal(path)
        except StorageError:
            continue
        found = [event for _, event in journal]
        assert found == complete[: len(found)]
        assert len(found) < len(complete)
        assert journal.ended is Ended.TORN


def test_the_zeros_that_a_power_cut_leaves_are_no_records(path):
    written(path, [Ticked()])
    with path.open("ab") as file:
        file.write(bytes(4096))
    journal = read_journal(path)
    assert len(list(journal)) == 1
    assert journal.left_bytes == 4096


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(rubbish=st.binary(max_size=200))
def test_rubbish_is_no_journal(path, rubbish):
    path.write_bytes(rubbish)
    with pytest.raises(StorageError):
        read_journal(path)


def test_no_file_is_no_journal(path):
    with pytest.raises(StorageError, match=r"hop\.journal"):
        read_journal(path)


def many(count: int) -> list[Event]:
    return [happened.LinkLost(f"{i:0500}") for i in range(count)]


def test_files_stay_within_their_bound_and_the_end_is_kept(path):
    events = [LadderInstalled(LADDER), *many(1500)]
    journal = writer(path, max_bytes=200_000)
    for i, event in enumerate(events):
        journal.append(float(i), event)
        if i % 40 == 0:
            assert journal.flush()
    journal.close()
    assert path.stat().st_size + previous(path).stat().st_size <= 200_000
    assert len(list(path.parent.iterdir())) == 2
    found = read_journal(path)
    ladder, *kept = [event for _, event in found]
    assert not found.whole
    assert ladder == LadderInstalled(LADDER)
    assert kept == events[-len(kept) :]
    assert len(kept) > 150


def test_two_files_of_one_life_are_read_as_one(path):
    events = [LadderInstalled(LADDER), *many(300)]
    journal = writer(path, max_bytes=200_000)
    for i, event in enumerate(events):
        journal.append(float(i), event)
        journal.flush()
    journal.close()
    assert previous(path).exists()
    assert read_journal(path).whole
    assert events_in(path) == events


def test_a_later_file_begins_with_the_present_ladder_and_the_one_before(path):
    ladders = [Ladder(task="animal", release=f"r{i}") for i in range(4)]
    written(path, [*[LadderInstalled(ladder) for ladder in ladders]])
    journal = writer(path, max_bytes=130_000)
    for ladder in [*ladders, ladders[2]]:  # Back to the one before the last.
        journal.append(0.0, LadderInstalled(ladder))
    for event in many(600):
        journal.append(0.0, event)
        journal.flush()
    journal.close()
    first, second, third = events_in(path)[:3]
    assert [first, second] == [LadderInstalled(ladders[3]), LadderInstalled(ladders[2])]
    assert isinstance(third, happened.LinkLost)


def test_the_journal_of_the_life_before_is_kept_and_not_mixed_in(path):
    written(path, [Ticked()] * 3)
    written(path, [happened.LinkUp()])
    assert events_in(path) == [happened.LinkUp()]
    assert events_in(previous(path)) == [Ticked()] * 3


def test_a_machine_that_stopped_between_two_files_still_has_its_journal(path):
    written(path, [Ticked()] * 3)
    path.rename(previous(path))
    assert events_in(path) == [Ticked()] * 3
    path.touch()
    assert events_in(path) == [Ticked()] * 3


class FullDisk:
    """Takes half of a write, then nothing, until there is room again."""

    def __init__(self, monkeypatch) -> None:
        self.full = False
        self._pwrite = os.pwrite
        monkeypatch.setattr(journal_writer.os, "pwrite", self.pwrite)

    def pwrite(self, fd, data, at):
        if self.full and len(data) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwrite(fd, data[: len(data) // 2] if self.full else data, at)


def test_a_full_disk_is_said_and_when_there_is_room_again_nothing_is_missing(path, monkeypatch):
    disk = FullDisk(monkeypatch)
    journal = writer(path)
    journal.append(0.0, Ticked())
    assert journal.flush()
    disk.full = True
    journal.append(1.0, happened.LinkUp())
    assert not journal.flush(0.1)
    assert not journal.up
    assert "No space" in journal.trouble
    disk.full = False
    assert journal.flush()
    assert (journal.up, journal.lost) == (True, 0)
    journal.close()
    assert events_in(path) == [Ticked(), happened.LinkUp()]


def test_a_disk_that_is_full_from_the_start_costs_no_earlier_journal(path, monkeypatch):
    written(path, [Ticked()] * 3)
    disk = FullDisk(monkeypatch)
    disk.full = True
    journal = writer(path)
    journal.append(0.0, happened.LinkUp())
    for _ in range(5):
        assert not journal.flush(0.03)
    disk.full = False
    assert journal.flush()
    journal.close()
    assert events_in(path) == [happened.LinkUp()]
    assert events_in(previous(path)) == [Ticked()] * 3


def test_what_a_full_disk_cost_is_counted_and_nobody_replays_across_it(path, monkeypatch):
    disk = FullDisk(monkeypatch)
    journal = writer(path, max_queued_bytes=3000)
    journal.append(0.0, Ticked())
    assert journal.flush()
    disk.full = True
    for event in many(20):
        journal.append(1.0, event)
    assert journal.lost > 0
    disk.full = False
    assert journal.flush()
    journal.append(2.0, happened.LinkUp())
    journal.close()
    exact = read_journal(path)
    assert len(list(exact)) == 1 + 20 - journal.lost
    assert (exact.ended, exact.lost) == (Ended.GAP, journal.lost)
    assert exact.left_bytes > 0
    looked = read_journal(path, past_gaps=True)
    assert [event for _, event in looked][-1] == happened.LinkUp()
    assert (looked.ended, looked.lost) == (Ended.COMPLETE, journal.lost)


def test_a_folder_that_comes_later_is_written_to_when_it_is_there(tmp_path):
    path = tmp_path / "card" / "hop.journal"
    journal = writer(path)
    journal.append(0.0, Ticked())
    assert not journal.flush(0.1)
    path.parent.mkdir()
    assert journal.flush()
    journal.close()
    assert events_in(path) == [Ticked()]


def test_two_processes_on_one_path_do_not_take_it_from_each_other(path):
    first, second = writer(path), writer(path)
    first.append(0.0, Ticked())
    assert first.flush()
    second.append(0.0, happened.LinkUp())
    assert not second.flush(0.1)
    first.append(1.0, Ticked())
    first.close()
    second.close()
    assert events_in(previous(path)) == [Ticked()] * 2
    assert events_in(path) == [happened.LinkUp()]


@pytest.mark.parametrize("event", [happened.LinkLost("\ud800"), happened.Received("above", 2**70)])
def test_a_word_that_can_not_be_written_is_a_gap_and_no_error(path, event):
    journal = written(path, [event, Ticked()])
    assert journal.lost == 1
    assert events_in(path) == []
    assert events_in(path, past_gaps=True) == [Ticked()]


def test_appending_to_a_closed_journal_is_harmless(path):
    journal = written(path, [Ticked()])
    journal.append(9.0, Ticked())
    assert journal.lost == 1
    assert events_in(path) == [Ticked()]


class Counting:
    """A machine: answers with how many it has heard, and dies of what it does not know."""

    wakes_at = None

    def __init__(self) -> None:
        self.heard = 0

    def handle(self, event: Event, now: float) -> list[Reply]:
        self.heard += 1
        return [Reply(f"{self.heard} at {now}", ANSWER)]


def test_a_journal_put_through_a_machine_again_gives_what_it_gave(path):
    machine = Counting()
    given_then = [(i / 7, event, machine.handle(event, i / 7)) for i, event in enumerate(EVERY_EVENT)]
    written(path, EVERY_EVENT, payloads=True)
    assert list(replayed(Counting(), read_journal(path))) == given_then
