"""An application of the demo, and an agent that does not do as it should."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cascade_cli.demo import show
from cascade_cli.demo.asking import Application, Given, Score
from cascade_cli.demo.digits import Split
from cascade_cli.demo.fleet import CASCADE
from cascade_cli.demo.show import Show
from cascade_cli.demo.view import View
from cascade_cli.local_processes import ProcessEnded, short_folder

IMAGES = Split(np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64))
ANSWER = b'{"outcome": "answered", "tag": "1", "label": "0", "provisional": false, "correction": false, "trail": []}\n'


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[SimpleNamespace]:
    """Says `says` to each question, or nothing; closed, it closes."""
    its = SimpleNamespace(says=b"", writers=[], path=tmp_path / "agent.sock")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        its.writers.append(writer)
        while await reader.read(4096):
            if its.says is None:
                break
            writer.write(its.says)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(its.path))
    yield its
    server.close()
    for writer in its.writers:
        writer.close()


def shown(agent: Any) -> Show:
    fleet: Any = SimpleNamespace(socket=lambda name: agent.path, check=lambda: None)
    return Show(fleet, IMAGES, View(io.StringIO()))


async def asked(made: Show) -> None:
    application = made._applications[0]
    await application.open()
    try:
        await made._answered(application, await application.ask(CASCADE, 0, Score()))
    finally:
        await application.close()


async def test_an_agent_that_hangs_up_is_told_as_one(agent: SimpleNamespace):
    agent.says = None
    with pytest.raises(ProcessEnded, match=r"barn\.cam1 has closed its ask socket"):
        await asked(shown(agent))


async def test_an_agent_that_says_nothing_is_waited_for_no_longer_than_is_said(agent: SimpleNamespace, monkeypatch):
    monkeypatch.setattr(show, "ANSWERED_WITHIN_S", 0.05)
    with pytest.raises(ProcessEnded, match=r"barn\.cam1 gave no answer within 0\.05 s"):
        await asked(shown(agent))


async def test_a_cloud_that_never_answers_is_not_waited_for_without_end(agent: SimpleNamespace, monkeypatch):
    monkeypatch.setattr(show, "ANSWERED_WITHIN_S", 0.0)
    with pytest.raises(ProcessEnded, match="no answer by the cloud within 0 s"):
        await shown(agent)._until_the_cloud_answers()


async def test_a_release_of_other_samples_is_told_at_once(agent: SimpleNamespace):
    agent.says = ANSWER.replace(b'"answered"', b'"refused", "reason": "bad_input"')
    made = shown(agent)
    for application in made._applications:
        await application.open()
    with pytest.raises(ProcessEnded, match="take other samples than images of 8 by 8"):
        await made._until_the_cloud_answers()
    for application in made._applications:
        await application.close()


async def test_questions_that_stay_open_are_counted(agent: SimpleNamespace, monkeypatch):
    monkeypatch.setattr(show, "CORRECTED_WITHIN_S", 0.0)
    made = shown(agent)
    for application in made._applications:
        await application.open()
    await made._applications[0].ask(CASCADE, 0, Score())
    with pytest.raises(ProcessEnded, match="1 questions have no final answer within 0 s"):
        await made._all_final()
    for application in made._applications:
        await application.close()


async def test_what_ends_the_listening_is_raised_where_an_answer_is_waited_for(agent: SimpleNamespace):
    def cant(given: Given) -> None:
        raise BrokenPipeError

    agent.says = ANSWER
    application = Application("barn.cam1", agent.path, IMAGES, cant)
    await application.open()
    await application.ask(CASCADE, 0, Score())
    await asyncio.wait([application.listening], timeout=10)
    with pytest.raises(BrokenPipeError):
        application.check()
    await application.close()


def test_where_the_temporary_folder_is_deep_a_socket_still_fits(tmp_path: Path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with short_folder("cascade-demo-") as folder:
        assert len(f"{folder}/barn.cam1.sock") <= 103
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with short_folder("x-") as folder:
        assert Path(folder).parent == tmp_path
