"""`cascade why`: from lines, from a journal, and what it says where nothing is known."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.answer_json import answer_line
from cascade.adapters.journal import previous, read_journal
from cascade.adapters.journal_writer import JournalWriter
from cascade.adapters.scripted_release import scripted_sample, write_scripted_release
from cascade.inference.events import Predicted
from cascade.messages import Answer, ClassScores, Outcome, Step, Verdict
from edge_agent import BlockingEdgeAgent

SURE, UNSURE = (0.02, 0.98), (0.45, 0.55)
STEP = Step(
    node="barn.cam1", tier="edge", stage="small", model="abc", verdict=Verdict.CLIMB, reason="unsure",
    confidence=0.55, threshold=0.9,
)  # fmt: skip
SETTINGS = """
device = { name = "barn.cam1", state_dir = "state" }
tasks = [{ name = "task", release = "release" }]
streams = [{ name = "cam", task = "task" }]
ask_socket = { path = "ask.sock" }
"""


def answer(question_id: str, **more: Any) -> Answer:
    said = {
        "id": question_id, "device": "barn.cam1", "digest": b"", "stream": "cam", "sequence": 1, "task": "ripe",
        "release": "r1", "outcome": Outcome.ANSWERED, "reason": "sure", "trail": (STEP,), "tier": "edge",
        "prediction": ClassScores((0.2, 0.8)), "label": "yes",
    }  # fmt: skip
    return Answer(**said | more)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    given = [answer(f"q{number}") for number in range(30)]
    given.insert(10, answer("q20", provisional=True, reason="deadline"))
    path = tmp_path / "answers"
    path.write_bytes(b"".join(map(answer_line, given)))
    return path


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The settings of a device that is asked in this process, and keeps a journal where a test says so."""
    write_scripted_release(tmp_path / "release")
    (tmp_path / "edge.toml").write_text(SETTINGS)
    return tmp_path / "edge.toml"


@pytest.fixture
def journaled(device: Path) -> tuple[Path, list[str]]:
    device.write_text(device.read_text() + 'journal = { path = "state/journal" }\n')
    with BlockingEdgeAgent(device) as agent:
        ids = [agent.ask(scripted_sample(scores, SURE, SURE)).id for scores in (SURE, UNSURE, SURE)]
    return device, ids


def test_a_question_is_told_from_the_lines_that_an_agent_printed(cascade, lines):
    said = cascade("why", "q20", "--answers", lines)
    assert said.code == 0
    assert "its gate measured 0.55 and wants at least 0.90" in " ".join(said.out.split())
    assert "Before that it was told" in said.out


def test_the_last_ones_are_listed_a_line_each(cascade, lines):
    said = cascade("why", "--last", 3, "--answers", lines)
    assert [line.split()[0] for line in said.out.splitlines()] == ["q27", "q28", "q29"]
    assert len(cascade("why", "--answers", lines).out.splitlines()) == 20


def test_lines_may_come_by_a_pipe(cascade, lines, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.read_bytes())))
    assert "Question q3:" in cascade("why", "q3", "--answers", "-").out


def test_for_machines_it_is_json(cascade, lines):
    one = json.loads(cascade("why", "q20", "--answers", lines, "--json").out)
    assert one["explanation"]["id"] == "q20"
    assert [given["provisional"] for given in one["answers"]] == [True, False]
    many = json.loads(cascade("why", "--last", "2", "--answers", lines, "--json").out)
    assert [each["answers"][0]["id"] for each in many] == ["q28", "q29"]


def test_of_an_unknown_question_it_says_how_many_are_kept_and_ends_with_3(cascade, lines):
    said = cascade("why", "never", "--answers", lines)
    assert said.code == 3
    assert f"nothing is known of question never: {lines} has 31 answers" in said.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["q1"], 2, "where to look is missing, expected one of --config edge.toml"),
        (["q1", "--last", "3", "--answers", "x"], 2, "found an id and --last"),
        (["--last", "0", "--answers", "x"], 2, "found '0', expected a whole number from 1 to 1000"),
        (["--last", "3", "--answers", "nowhere"], 1, "nowhere: No such file"),
        (["q1", "--journal", "nowhere"], 1, "nowhere: no journal is there"),
        (
            ["q1", "--socket", "nowhere"],
            1,
            "no agent listens at nowhere: there is no such socket. Is edge-agent running?",
        ),
        (["q1", "--socket", "x" * 200], 1, "too long"),
        (["q1", "--socket", "plain"], 1, "plain is no socket; `ask_socket.path` in the agent's settings names it"),
        (["q1", "--answers", "plain"], 1, "cascade: plain, line 1: no answer of an agent"),
        (["q1", "--config", "nowhere.toml"], 2, "nowhere.toml: 1 mistake"),
    ],
)
def test_what_is_wrong_is_said_with_its_mend(words, code, said, cascade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "plain").write_text("garbage\n")
    ended = cascade("why", *words)
    assert ended.code == code
    assert said in ended.err


def test_a_running_agent_is_asked_by_its_settings(cascade, device):
    with BlockingEdgeAgent(device) as agent:
        asked = agent.ask(scripted_sample(UNSURE, SURE, SURE))
        assert "there is no hop above to ask" in " ".join(cascade("why", asked.id, "--config", device).out.split())
        assert cascade("why", "--config", device).out.startswith(asked.id)
        never = cascade("why", "never", "--socket", device.parent / "ask.sock")
    assert never.code == 3
    assert "keeps its last 1000 answers, and has 1 now; limits.answers_explained" in never.err


def test_without_a_source_it_takes_the_settings_of_this_folder_and_says_so(cascade, device, monkeypatch):
    monkeypatch.chdir(device.parent)
    with BlockingEdgeAgent(device) as agent:
        asked = agent.ask(scripted_sample(SURE, SURE, SURE))
        said = cascade("why", "--last", 5)
    assert said.out.startswith(asked.id)
    assert said.err == "cascade why: by edge.toml in this folder\n"


def test_without_settings_here_it_takes_what_the_demo_left_and_says_so(cascade, journaled, tmp_path, monkeypatch):
    device, ids = journaled
    folder = tmp_path / "home/cascade/demo"
    folder.mkdir(parents=True)
    (folder / "answers.jsonl").write_bytes(b"".join(answer_line(answer(each)) for each in [*ids, "elsewhere"]))
    (device.parent / "state/journal").rename(folder / "barn.cam1.journal")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    said = cascade("why", "--last", 2)
    assert [line.split()[0] for line in said.out.splitlines()] == [ids[2], "elsewhere"]
    assert "what the demo's last run left in " in said.err
    assert "+0.00 ms asked with" in cascade("why", ids[1]).out


def test_without_an_agent_and_a_journal_both_mends_are_named(cascade, device):
    said = cascade("why", "q1", "--config", device)
    assert said.code == 1
    assert "Is edge-agent running?" in said.err
    assert "no table [journal]" in said.err


def test_when_the_agent_is_gone_its_journal_tells_with_times(cascade, journaled):
    device, ids = journaled
    said = " ".join(cascade("why", ids[1], "--config", device).out.split())
    assert "it was not sure enough, but there is no hop above to ask" in said
    assert "+0.00 ms asked with 1000 ms to its deadline; 24 bytes" in said
    assert "There is no hop above." in said
    assert [line.split()[0] for line in cascade("why", "--last", 2, "--config", device).out.splitlines()] == ids[1:]


def test_what_a_journal_tells_of_an_answer_is_what_was_answered(cascade, device):
    device.write_text(device.read_text() + 'journal = { path = "state/journal" }\n')
    with BlockingEdgeAgent(device) as agent:
        asked = agent.ask(scripted_sample(UNSURE, SURE, SURE))
    (told,) = json.loads(cascade("why", asked.id, "--config", device, "--json").out)["answers"]
    assert told == json.loads(answer_line(asked))


def test_an_earlier_life_is_found_in_the_journal_before(cascade, journaled):
    device, ids = journaled
    with BlockingEdgeAgent(device) as agent:
        agent.ask(scripted_sample(SURE, SURE, SURE))
    journal = device.parent / "state/journal"
    assert previous(journal).exists()
    assert f"Question {ids[0]}" in cascade("why", ids[0], "--journal", journal).out


def test_a_journal_that_was_cut_off_tells_what_is_there(cascade, journaled):
    device, ids = journaled
    journal = device.parent / "state/journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    said = cascade("why", ids[0], "--journal", journal)
    assert said.code == 0
    assert "the journal ends within a record" in said.err


def test_a_journal_whose_beginning_was_overwritten_tells_what_came_after_and_says_so(cascade, device):
    device.write_text(device.read_text() + 'journal = { path = "state/journal", max_bytes = 400_000 }\n')
    with BlockingEdgeAgent(device) as agent:
        ids = [agent.ask(scripted_sample(UNSURE, SURE, SURE)).id for _ in range(1500)]
    journal = device.parent / "state/journal"
    assert read_journal(journal).header.part > 0
    said = cascade("why", ids[-1], "--journal", journal)
    assert said.code == 0, said.err
    assert "there is no hop above to ask" in " ".join(said.out.split())
    assert "what breaker and budgets were before is not known" in said.err
    gone = cascade("why", ids[0], "--journal", journal)
    assert gone.code == 3
    assert "has no beginning any more, or gaps; journal.max_bytes in the agent's settings makes it keep" in gone.err


def test_what_came_after_a_gap_in_the_journal_is_told_and_what_was_open_in_it_is_not(cascade, device):
    device.write_text(device.read_text() + 'journal = { path = "state/journal" }\n')
    with BlockingEdgeAgent(device) as agent:
        ids = [agent.ask(scripted_sample(UNSURE, SURE, SURE)).id for _ in range(12)]
    journal, gappy = read_journal(device.parent / "state/journal"), device.parent / "gappy"
    writer = JournalWriter(gappy, node="barn.cam1", tier="edge", rebuild=journal.header.rebuild)
    runs = 0
    for now, event in journal:
        runs += isinstance(event, Predicted)
        if isinstance(event, Predicted) and runs == 4:
            writer._lose()
        else:
            writer.append(now, event)
    writer.close()
    said = cascade("why", ids[11], "--journal", gappy)
    assert said.code == 0, said.err
    assert "there is no hop above to ask" in " ".join(said.out.split())
    assert "1 events are missing from the journal" in said.err
    assert cascade("why", ids[3], "--journal", gappy).code == 3


def test_a_question_that_was_open_in_a_crash_is_told_as_far_as_it_came(cascade, journaled):
    """The journal ends with the question asked: what came after was lost with the process."""
    device, ids = journaled
    journal = device.parent / "state/journal"
    whole = journal.read_bytes()
    for end in range(len(whole), 0, -1):
        journal.write_bytes(whole[:end])
        said = cascade("why", ids[2], "--journal", journal)
        if "It has no answer as far as the journal goes" in said.out:
            break
    assert said.code == 0
    assert "+0.00 ms asked with 1000 ms to its deadline" in said.out
    assert "stage edge-model" not in said.out


def test_rubbish_is_no_journal(cascade, tmp_path):
    (tmp_path / "journal").write_bytes(b"\0" * 1000)
    assert cascade("why", "q1", "--journal", tmp_path / "journal").code == 1


def test_who_reads_no_further_is_no_error(lines, tmp_path):
    import subprocess

    command = f"{sys.executable} -m cascade_cli why --last 1000 --answers {lines} | head -1"
    ended = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=30)
    assert ended.stderr == ""


def test_a_terminal_that_knows_only_ascii_is_told_in_ascii(lines):
    command = [sys.executable, "-m", "cascade_cli", "why", "--last", "1", "--answers", str(lines)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    two_steps = answer("q31", trail=(STEP, STEP))
    lines.write_bytes(answer_line(two_steps))
    ended = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"edge 0.55/0.90 unsure ? edge 0.55/0.90 unsure" in ended.stdout
