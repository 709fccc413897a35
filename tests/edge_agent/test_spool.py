"""The spool: what it promises of questions on disk, in what order it gives them back, and what it gives up."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from cascade.errors import StorageError
from cascade.inference.events import Asked, Durability, Evicted, Kept, Remembered
from edge_agent.spool import Restored, Spool
from edge_agent.spool_clock import Boot

Make = Callable[..., Any]


@pytest.fixture
def spool_at(tmp_path: Path, heard: Any) -> Iterator[Callable[..., Spool]]:
    """Opens spools on one file, one after the other; closes what is left open."""
    opened: list[Spool] = []

    def make(**more: Any) -> Spool:
        if opened:
            opened[-1].close()
        settings: dict[str, Any] = {"max_bytes": 1 << 24, "max_age_s": 1e6, "commit_within_s": 0.01}
        spool = Spool(tmp_path / "spool", heard, **settings | more)
        spool.open()
        opened.append(spool)
        return spool

    yield make
    for spool in opened:
        spool.close()


def load(spool: Spool, most: int = 1000) -> list[Restored]:
    given: Queue[list[Restored]] = Queue()
    spool.load(most, given.put)
    return given.get(timeout=10)


def keep(spool: Spool, heard: Any, *questions: Any, sync: bool = False) -> list[Kept]:
    before = len(heard.of(Kept))
    for question in questions:
        spool.keep(question, "back", sync)
    kept: list[Kept] = heard.wait(Kept, before + len(questions))[before:]
    return kept


@pytest.mark.parametrize("sync", [True, False])
def test_what_was_kept_is_there_after_a_restart(spool_at: Make, heard: Any, question: Make, sync: bool) -> None:
    assert keep(spool_at(), heard, question(1), sync=sync) == [Kept(question(1).key, True)]
    (row,) = load(spool_at())
    assert row.question.payload == question(1).payload
    assert row.question.key == question(1).key
    assert (row.back, row.durability) == ("back", Durability.SYNCED if sync else Durability.BATCHED)


def test_a_restored_question_is_asked_as_restored(spool_at: Make, heard: Any, question: Make) -> None:
    keep(spool_at(), heard, question(1))
    (row,) = load(spool_at())
    assert row.asked() == Asked(row.question, "back", Durability.BATCHED, restored=True)


def test_the_most_valuable_is_loaded_first_and_of_equals_the_oldest(spool_at: Make, heard: Any, question: Make) -> None:
    keep(spool_at(), heard, *(question(n, priority=priority) for n, priority in enumerate([5, 0, 9, 5, 9])))
    assert [row.question.sequence for row in load(spool_at())] == [2, 4, 0, 3, 1]


def test_what_the_hop_has_in_memory_is_not_loaded(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at()
    keep(spool, heard, question(1))
    assert load(spool) == []


def test_a_parked_question_is_loaded_again(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at()
    keep(spool, heard, question(1), question(2))
    spool.park(question(2).key)
    assert [row.question.id for row in load(spool)] == ["q2"]
    assert load(spool) == []


def test_rows_are_loaded_in_windows(spool_at: Make, heard: Any, question: Make) -> None:
    keep(spool_at(), heard, *(question(n) for n in range(10)))
    spool = spool_at()
    assert [[row.question.sequence for row in load(spool, 4)] for _ in range(4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
        [],
    ]


def test_a_forgotten_question_is_gone_after_a_restart(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at()
    keep(spool, heard, question(1), question(2))
    spool.forget(question(1).key)
    assert [row.question.id for row in load(spool_at())] == ["q2"]


def test_what_is_kept_and_forgotten_at_once_never_touches_the_disk(
    spool_at: Make, heard: Any, question: Make, tmp_path: Path
) -> None:
    spool = spool_at(commit_within_s=0.2)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    for number in range(10):
        spool.keep(question(number, size_bytes=100_000), "back", False)
        spool.forget(question(number).key)
        spool.forget(question(number, size_bytes=100_000).key)
    assert load(spool) == []
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == written
    assert heard.of(Kept) == []  # nobody waits for it any more


def test_a_recorded_answer_is_given_again_after_a_restart(
    spool_at: Make, heard: Any, question: Make, answer: Make
) -> None:
    spool = spool_at()
    keep(spool, heard, question(1), sync=True)
    spool.remember(question(1).key, answer(question(1)))
    heard.wait(Remembered)
    (row,) = load(spool_at())
    assert row.answer == answer(question(1))
    assert row.question.payload == ()
    assert row.asked().earlier == answer(question(1), repeated=True)


def test_kept_and_answered_at_once_is_recorded_as_both(
    spool_at: Make, heard: Any, question: Make, answer: Make
) -> None:
    spool = spool_at(commit_within_s=0.2)
    spool.keep(question(1), "back", False)
    spool.remember(question(1).key, answer(question(1)))
    heard.wait(Remembered)
    assert [row.answer for row in load(spool_at())] == [answer(question(1))]


def test_an_answer_to_a_question_that_is_not_there_is_acknowledged_all_the_same(
    spool_at: Make, heard: Any, question: Make, answer: Make
) -> None:
    spool_at().remember(question(1).key, answer(question(1)))
    assert heard.wait(Remembered) == [Remembered(question(1).key)]


def test_a_question_kept_twice_is_one_row(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at()
    keep(spool, heard, question(1), question(1))
    assert keep(spool, heard, question(1)) == [Kept(question(1).key, True)]
    assert len(load(spool_at())) == 1


def test_one_id_with_another_payload_is_another_question(spool_at: Make, heard: Any, question: Make) -> None:
    keep(spool_at(), heard, question(1), question(2, id="q1"))
    assert len(load(spool_at())) == 2


def test_over_its_bytes_the_least_valuable_goes_and_it_says_so(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at(max_bytes=4096 * 4)
    priorities = [5, 0, 9, 0]
    keep(spool, heard, *(question(n, size_bytes=3000, priority=p) for n, p in enumerate(priorities)))
    keep(spool, heard, question(7, size_bytes=3000, priority=5))
    (evicted,) = heard.wait(Evicted)
    assert (evicted.question.sequence, evicted.back, evicted.reason) == (1, "back", "spool_full")
    assert evicted.question.payload == ()
    assert evicted.question.key == question(1, size_bytes=3000).key
    assert [row.question.sequence for row in load(spool_at())] == [2, 0, 7, 3]


def test_what_is_worth_less_than_all_that_is_there_is_not_kept(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at(max_bytes=4096 * 2)
    keep(spool, heard, question(1, size_bytes=3000), question(2, size_bytes=3000))
    worthless = question(3, size_bytes=3000, priority=0)
    assert keep(spool, heard, worthless) == [Kept(worthless.key, False)]
    assert heard.of(Evicted) == []


def test_a_question_larger_than_the_spool_is_not_kept(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at(max_bytes=1 << 16)
    keep(spool, heard, question(1))
    giant = question(2, size_bytes=1 << 17, priority=0)
    assert keep(spool, heard, giant) == [Kept(giant.key, False)]
    assert spool.readings.depth == 1


class Device:
    """A device whose clock the test moves."""

    def __init__(self) -> None:
        self.id, self.s = "first", 1000.0

    def __call__(self) -> Boot:
        return Boot(self.id, self.s * 1000.0)


def test_age_goes_on_over_a_restart(spool_at: Make, heard: Any, question: Make) -> None:
    device = Device()
    keep(spool_at(boot=device), heard, question(1, age_ms=500.0))
    device.s += 0.4
    (row,) = load(spool_at(boot=device))
    assert (row.question.age_ms, row.question.ms_left, row.question.keep_ms) == (900.0, 600.0, 60_000.0)


def test_time_beyond_the_deadline_is_taken_from_the_time_for_corrections(
    spool_at: Make, heard: Any, question: Make
) -> None:
    device = Device()
    keep(spool_at(boot=device), heard, question(1))
    device.s += 11.0
    (row,) = load(spool_at(boot=device))
    assert (row.question.ms_left, row.question.keep_ms) == (0.0, 50_000.0)


def test_age_goes_on_over_a_reboot_as_far_as_it_is_known(spool_at: Make, heard: Any, question: Make) -> None:
    device = Device()
    keep(spool_at(boot=device), heard, question(1))
    device.s += 5.0
    spool_at(boot=device).close()
    device.id, device.s = "second", 7.0
    (row,) = load(spool_at(boot=device))
    assert row.question.age_ms == pytest.approx(12_000.0)


def test_a_clock_of_1970_makes_nothing_young(spool_at: Make, heard: Any, question: Make) -> None:
    device = Device()
    keep(spool_at(boot=device), heard, question(1))
    device.id, device.s = "second", 0.0
    (row,) = load(spool_at(boot=device))
    assert row.question.age_ms == 0.0


def test_what_is_too_old_is_given_up(
    spool_at: Make, heard: Any, question: Make, until: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.spool.TIDY_S", 0.02)
    device = Device()
    spool = spool_at(boot=device, max_age_s=60.0)
    keep(spool, heard, question(1, priority=9), question(2, priority=1, age_ms=30_000.0), question(3))
    device.s += 31.0
    (evicted,) = heard.wait(Evicted)
    assert (evicted.question.id, evicted.reason) == ("q2", "too_old")
    until(lambda: spool.readings.depth == 2)


def test_readings_say_what_is_there(spool_at: Make, heard: Any, question: Make, until: Make) -> None:
    keep(spool_at(), heard, question(1), question(2))
    spool = spool_at()
    assert spool.readings.durable
    assert (spool.readings.depth, spool.readings.waiting) == (2, 2)
    load(spool, 1)
    until(lambda: spool.readings.waiting == 1)
    assert spool.readings.bytes > 0


def test_a_second_agent_on_one_file_is_refused(spool_at: Make, heard: Any, question: Make, tmp_path: Path) -> None:
    spool = spool_at()
    with pytest.raises(StorageError, match="another agent"):
        Spool(tmp_path / "spool", heard, max_bytes=1 << 20, max_age_s=60).open()
    assert keep(spool, heard, question(1)) == [Kept(question(1).key, True)]


def test_after_closing_nothing_is_promised(spool_at: Make, heard: Any, question: Make, answer: Make) -> None:
    spool = spool_at()
    assert spool.close()
    assert keep(spool, heard, question(1)) == [Kept(question(1).key, False)]
    spool.remember(question(1).key, answer(question(1)))
    assert heard.wait(Remembered)
    assert load(spool) == []


def test_closing_writes_what_waits(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at(commit_within_s=30.0)
    spool.keep(question(1), "back", False)
    spool.close()
    assert heard.of(Kept) == [Kept(question(1).key, True)]
    assert len(load(spool_at())) == 1


def test_a_synced_question_does_not_wait_for_the_batch(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at(commit_within_s=30.0, commit_every=1000)
    spool.keep(question(1), "back", False)
    spool.keep(question(2), "back", True)
    assert len(heard.wait(Kept, 2)) == 2


def test_a_full_batch_does_not_wait_for_the_time(spool_at: Make, heard: Any, question: Make) -> None:
    spool = spool_at(commit_within_s=30.0, commit_every=4)
    keep(spool, heard, *(question(n) for n in range(4)))


def test_when_the_thread_is_far_behind_a_question_is_told_so_and_memory_stays(
    spool_at: Make, heard: Any, question: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.spool.MOST_INBOX_BYTES", 10_000)
    spool = spool_at(commit_within_s=30.0, commit_every=1000)
    for number in range(20):
        spool.keep(question(number, size_bytes=1000), "back", False)
    assert {kept.durable for kept in heard.of(Kept)} == {False}
    assert spool.readings.not_kept + len(heard.of(Kept)) >= 13


def test_the_file_is_for_its_owner_alone(spool_at: Make, heard: Any, question: Make, tmp_path: Path) -> None:
    keep(spool_at(), heard, question(1))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_every_promise_is_written_with_a_full_sync(
    spool_at: Make, heard: Any, question: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    from edge_agent.spool_file import SpoolFile

    sync = SpoolFile._sync

    def listening(self: SpoolFile, full: bool) -> None:
        asked.append(full)
        sync(self, full)

    monkeypatch.setattr(SpoolFile, "_sync", listening)
    spool = spool_at()
    del asked[:]
    keep(spool, heard, question(1))
    spool.forget(question(1).key)
    spool.close()
    assert asked[:2] == [True, False]


def test_a_schema_of_another_version_is_moved_aside(spool_at: Make, heard: Any, question: Make, tmp_path: Path) -> None:
    spool_at().close()
    with closing(sqlite3.connect(tmp_path / "spool")) as db:
        db.execute("PRAGMA user_version=77")
    assert keep(spool_at(), heard, question(1)) == [Kept(question(1).key, True)]
    assert (tmp_path / "spool.broken-1").exists()


def test_an_emptied_spool_gives_the_disk_back(
    spool_at: Make, heard: Any, question: Make, until: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge_agent.spool.TIDY_S", 0.02)
    spool, questions = spool_at(), [question(number, size_bytes=50_000) for number in range(200)]
    keep(spool, heard, *questions)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 10_000_000
    for one in questions:
        spool.forget(one.key)
    spool.close()
    spool = spool_at()
    until(lambda: (tmp_path / "spool").stat().st_size < 3_000_000 or spool.readings.depth)
    spool.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3_000_000


def test_an_empty_file_is_begun(spool_at: Make, heard: Any, question: Make, tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    keep(spool_at(), heard, question(1))
    assert len(os.listdir(tmp_path)) <= 2
